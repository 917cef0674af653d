"""A process that has imported what many tests need, and forks: a fresh process for a tenth of a second."""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["nbdev.test", "matplotlib.pyplot", "mlflow", "mlp_bench.manager", "mlp_bench.reports", "kagglehub"]
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
