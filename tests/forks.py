"""A process that has imported what many tests need, and forks: a fresh process for a tenth of a second."""

import multiprocessing
import os
import resource
import runpy
import sys
import tempfile
import traceback

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "nbdev.test",
        "matplotlib.pyplot",
        "mlp_bench.manager",
        "mlp_bench.reports",
        "kagglehub",
        "mlflow.store.tracking.sqlalchemy_store",  # and what else the first run of a store imports
        "filelock",
        "git",
        "skops.io",
    ]
)


def answer_of(function, *args, seconds=60):
    "What a function of a test module returns in a process of its own"
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_send, args=(sender, function, *args))
    process.start()
    sender.close()  # so that the end of the process is the end of the pipe
    assert receiver.poll(seconds), "no answer"
    answer = receiver.recv()
    process.join(seconds)
    return answer


def _send(sender, function, *args):
    sender.send(function(*args))


def errors_of(script, *arguments):
    "The traceback of a Python script that is run here, in a process of its own; empty if all went well"
    return answer_of(_run, str(script), arguments, os.getcwd(), dict(os.environ), seconds=600)


def command_in_a_process(arguments, file_size):
    "Exit code and stderr of a command of ours in a process whose files may not grow beyond so many bytes"
    return answer_of(_command, arguments, file_size, os.getcwd(), dict(os.environ))


def _command(arguments, file_size, folder, environment):
    from mlp_bench.cli import app

    os.chdir(folder)
    os.environ.update(environment)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    with tempfile.TemporaryFile() as told:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(told.fileno(), 2)
        try:
            app(arguments)
        except SystemExit as ended:
            code = ended.code
        sys.stderr.flush()
        told.seek(0)
        return code, told.read().decode()


def _run(script, arguments, folder, environment):
    os.chdir(folder)
    os.environ.update(environment)
    sys.argv = [script, *map(str, arguments)]
    try:
        runpy.run_path(script, run_name="__main__")
    except BaseException:
        return traceback.format_exc()
    return ""
