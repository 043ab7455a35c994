"""Runs in each kernel of the build as it starts, which execute_ahead.py sees to: a picture
carries the lines that its figure shows below itself."""

import sys

SHOWN = "application/json"  # execute_ahead.py takes it out of the notebook


def register(shell) -> None:
    """Let each picture that the shell sends out be looked at on its way."""

    def add_lines(message):
        data = message["content"].get("data", {})
        if "image/png" in data and (pyplot := sys.modules.get("matplotlib.pyplot")):
            figures = map(pyplot.figure, pyplot.get_fignums())  # not closed before it is sent
            data[SHOWN] = [line for fig in figures for line in fig.get_supxlabel().split("\n")]
        return message

    shell.display_pub.register_hook(add_lines)
