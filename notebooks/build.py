"""Run the percent scripts of this folder and write each beside itself as a notebook with outputs: `make notebooks`."""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent


def read(script: Path, *, smoke: bool) -> nbformat.NotebookNode:
    """Read a percent script; ``smoke`` turns the switch in its parameters cell."""
    notebook = jupytext.read(script)
    if smoke:
        (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
        parameters.source = parameters.source.replace("SMOKE = False", "SMOKE = True")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random ids would change the file at every run
    return notebook


def execute(notebook: nbformat.NotebookNode, timeout: int = 3600) -> nbformat.NotebookNode:
    """Run all cells in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"kernel_name": "python3", "coalesce_streams": True, "resources": {"metadata": {"path": folder}}}
        client = NotebookClient(notebook, timeout=timeout, **options)
        # bars of other libraries, without ipywidgets
        client.execute(env=os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of the day
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
    return notebook


def smaller(picture: str) -> str:
    """Write a PNG in base64 again with 256 colours: figures have few, and the repository keeps every version."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(drawn := io.BytesIO(), format="png", optimize=True)
    return base64.b64encode(drawn.getvalue()).decode()


def main() -> None:
    """Build the notebooks named on the command line, or all."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    scripts = [Path(name).resolve() for name in sys.argv[1:]] or sorted(HERE.glob("[0-9]*.py"))
    for script in scripts:
        notebook = execute(read(script, smoke=False))
        nbformat.write(notebook, script.with_suffix(".ipynb"))
        print(f"written: {script.with_suffix('.ipynb').relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
