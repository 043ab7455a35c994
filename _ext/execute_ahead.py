"""Executes the notebooks two at a time. Left alone, MyST-NB executes each one when Sphinx reads
it, one after another.

Nothing is cached: each build executes, from its first cell to its last, every notebook that
Sphinx is about to read. MyST-NB receives the result at the place where it would have executed
the notebook itself, and treats it as its own.
"""

from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import nbformat
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.execute import direct

KERNELS = 2
# A line that reaches us in two pieces stays one line: MyST-NB's own merging would break it.
execute = partial(single_nb_execution, coalesce_streams=True)


def identity(notebook, folder):
    """What a run depends on: the code and the folder in which it runs."""
    return str(folder), tuple(
        cell.source for cell in notebook.cells if cell.cell_type == "code"
    )


def start(app, env, docnames):
    """Hand the notebooks to threads, each of which has one kernel at a time (event
    env-before-read-docs)."""
    if app.config.nb_execution_mode != "force":
        return
    pool, runs = ThreadPool(KERNELS), {}
    settings = {
        "timeout": app.config.nb_execution_timeout,
        "allow_errors": app.config.nb_execution_allow_errors,
    }
    for path in (Path(env.doc2path(docname)) for docname in docnames):
        if path.suffix == ".ipynb":
            notebook = nbformat.read(path, as_version=4)
            task = {"nb": notebook, "cwd": str(path.parent), **settings}
            runs[identity(notebook, path.parent)] = pool.apply_async(execute, kwds=task)

    def wait(notebook, cwd, **settings):
        """In place of MyST-NB's call: the run that was started, or a run now for a notebook
        that was not."""
        if (key := identity(notebook, cwd)) not in runs:
            return execute(notebook, cwd=cwd, **settings)
        result = runs.pop(key).get()
        notebook.update(result.nb)
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
