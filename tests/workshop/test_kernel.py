"""The kernel's environment, and the wake-up that a widget's output must not swallow."""

import asyncio
import os
import sys
import time
from types import SimpleNamespace

import zmq
import zmq.asyncio
from jupyter_client.session import Session

from ptsa_lite.workshop import kernel as notebook_kernel


def test_a_reply_that_arrives_while_a_widget_is_mirrored_is_noticed():
    async def meet():
        context = zmq.asyncio.Context()
        ours, kernels = context.socket(zmq.DEALER), zmq.Context(context).socket(zmq.DEALER)
        ours.bind("inproc://shell")
        kernels.connect("inproc://shell")
        try:
            client = SimpleNamespace(session=Session(key=b"key"), shell_channel=SimpleNamespace(socket=ours))
            client.shell_channel.send = lambda message: client.session.send(ours, message)  # as jupyter_client has it
            widget = notebook_kernel.Output("id", {"outputs": []}, client, executor=None)
            widget.parent_header = {}
            reply = asyncio.ensure_future(ours.poll())
            await asyncio.sleep(0.05)
            kernels.send(b"reply")
            time.sleep(0.05)  # it arrives while the loop is busy with ...
            widget.send({"method": "update", "state": {}})  # ... this
            return await asyncio.wait_for(reply, timeout=2)
        finally:
            ours.close(0), kernels.close(0)

    assert asyncio.run(meet())


def test_the_kernel_keeps_what_you_set_but_draws_inline(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    found = notebook_kernel.environment()
    assert found["OMP_NUM_THREADS"] == "7" and found["HF_HUB_OFFLINE"] == "0"
    assert found["MPLBACKEND"].endswith("backend_inline")
    assert os.environ["MPLBACKEND"] == "Agg", "only the kernel's environment changes"
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert notebook_kernel.environment()["HF_HUB_OFFLINE"] == "1"


def test_a_kernel_installed_for_another_python_does_not_win(tmp_path, monkeypatch):
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text('{"argv": ["/no/such/python"], "display_name": "x", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    manager = notebook_kernel.Client.create_kernel_manager(SimpleNamespace())
    assert manager.kernel_spec.argv[0] == sys.executable
