"""Executes the notebooks two at a time. Left alone, MyST-NB executes each one when Sphinx reads
it, one after another.

Nothing is cached: each build executes, from its first cell to its last, every notebook that
Sphinx is about to read. MyST-NB receives the result at the place where it would have executed
the notebook itself, and treats it as its own.

Kernels see none of the reader's own settings that could change a page, and what a notebook
shows as an error or on standard error fails the build, named by its cell.
"""

import os
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import matplotlib
import nbformat
import on_start
from jupyter_cache.executors.utils import single_nb_execution
from matplotlib import font_manager
from myst_nb.core.execute import direct
from sphinx.util.logging import getLogger

KERNELS = 2
WORDS = 300  # of a complaint
# A line that reaches us in two pieces stays one line: MyST-NB's own merging would break it.
execute = partial(single_nb_execution, coalesce_streams=True)


def identity(notebook, folder):
    """What a run depends on: the code and the folder in which it runs."""
    return str(folder), tuple(
        cell.source for cell in notebook.cells if cell.cell_type == "code"
    )


def settle(folder):
    """Set what kernels inherit: figures drawn into the page, in matplotlib's own style, and
    folders that can be written."""
    folder.mkdir(parents=True, exist_ok=True)  # IPython looks elsewhere where it is not there
    own = Path(matplotlib.get_data_path()) / "matplotlibrc"
    os.environ |= {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": str(own),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    os.environ.pop("PYTHONWARNINGS", None)
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    run = f"run_path({on_start.__file__!r})['register'](get_ipython())"
    (startup / "figures.py").write_text(f"__import__('runpy').{run}\n", encoding="utf-8")
    # Where matplotlib may not write, it names a folder of its own in the environment. It looks
    # for fonts in this process: a kernel that must do so says it on standard error.
    font_manager.get_font_names()
    matplotlib.use("agg")  # this process draws too, the stills
    matplotlib.rcdefaults()


def complaints(notebook):
    """What outputs say that is an error or went to standard error, one line each."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                text = f"shows an error: {output.ename}: {output.evalue}"
            elif output.get("name") == "stderr":
                text = f"writes to standard error: {output.text}"
            else:
                continue
            yield f"cell {number} ({cell.id}) {' '.join(text.split())[:WORDS]}"


def take_lines(notebook):
    """{name of a figure: the lines below it}, which pictures carry (on_start.py) and lose."""
    found = {}
    for cell in notebook.cells:
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data and on_start.SHOWN in data:
                found[name] = found.get(name, []) + data.pop(on_start.SHOWN)
    return found


def start(app, env, docnames):
    """Hand the notebooks to threads, each of which has one kernel at a time (event
    env-before-read-docs)."""
    if app.config.nb_execution_mode != "force":
        return
    settle(Path(app.outdir).resolve().parent / ".kernels")
    pool, runs, logger = ThreadPool(KERNELS), {}, getLogger(__name__)
    settings = {
        "timeout": app.config.nb_execution_timeout,
        "allow_errors": app.config.nb_execution_allow_errors,
    }
    for path in (Path(env.doc2path(docname)) for docname in docnames):
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            task = {"nb": notebook, "cwd": str(path.parent), **settings}
            run = pool.apply_async(execute, kwds=task)
            runs[identity(notebook, path.parent)] = path, run

    def wait(notebook, cwd, **settings):
        """In place of MyST-NB's call: the run that was started, or a run now for a notebook
        that was not."""
        if (key := identity(notebook, cwd)) not in runs:
            result = execute(notebook, cwd=cwd, **settings)
            take_lines(notebook)
            return result
        path, run = runs.pop(key)
        result = run.get()
        notebook.update(result.nb)
        env.metadata[env.path2doc(str(path))]["figures"] = take_lines(notebook)
        for complaint in () if result.err else complaints(notebook):
            logger.warning("%s, %s", path.name, complaint, location=env.path2doc(str(path)))
        return result

    def stop(app, exception):
        """Once the build is over: start no further notebook, and let those that run end."""
        pool.terminate()
        pool.join()

    direct.single_nb_execution = wait
    app.connect("build-finished", stop)


def setup(app):
    app.connect("env-before-read-docs", start)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
