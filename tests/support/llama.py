"""A real llama.cpp server over a model of random weights, in a process of its own.

    with LlamaServer() as server:
        server.base_url            # "http://127.0.0.1:PORT/v1", for chat and everything of it
    with LlamaServer(embedding=True) as server: ...

The model says nothing of sense, but tokenizes, samples, caches, counts and streams as any other: two
layers, 64 wide, a vocabulary of bytes. It is written in under a second and is deterministic at
temperature 0. The process ends with the pipe to its parent, so none is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

MODEL = "random-bytes"

_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
)


class LlamaServer:
    """The server; ready when constructed."""

    def __init__(self, *, embedding: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="maester-llama-")
        log = Path(self._folder.name) / "log"
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, __file__, self._folder.name, *(["--embedding"] if embedding else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"listening "):
                self.origin = line.split()[1].decode()
                break
        else:
            self._process.wait()
            raise RuntimeError(f"llama.cpp did not start:\n{log.read_text(errors='replace')}")
        self.base_url = f"{self.origin}/v1"

    def close(self) -> None:
        """End the process and remove the model."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def write_model(path: Path) -> None:
    """Write a GGUF file of random weights, always the same ones."""
    import gguf
    import numpy as np

    width, layers, heads, hidden, context = 64, 2, 4, 128, 2048
    vocabulary = [b"<unk>", b"<s>", b"</s>", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(MODEL)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary)
    writer.add_token_scores([0.0] * len(vocabulary))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_CHAT_TEMPLATE)
    random = np.random.default_rng(7)

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) * 0.2).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    tensor("token_embd.weight", len(vocabulary), width)
    for layer in range(layers):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm.weight")
        ones(f"{block}.ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"{block}.{name}.weight", width, width)
        tensor(f"{block}.ffn_gate.weight", hidden, width)
        tensor(f"{block}.ffn_up.weight", hidden, width)
        tensor(f"{block}.ffn_down.weight", width, hidden)
    ones("output_norm.weight")
    tensor("output.weight", len(vocabulary), width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(folder: Path, embedding: bool) -> None:
    """Serve until standard input ends."""
    import xllamacpp

    model = folder / "model.gguf"
    write_model(model)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    params.n_ctx = 4096
    params.n_batch = 512
    params.n_ubatch = 512
    params.n_parallel = 2
    params.n_predict = 64
    params.n_threads_http = 4
    params.warmup = False
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    if embedding:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    address = server.listening_address
    with urllib.request.urlopen(f"{address}/health", timeout=30) as answer:
        assert answer.status == 200
    print(f"listening {address}", flush=True)
    sys.stdin.buffer.read()
    # The server's own threads do not end in good order while Python does.
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), "--embedding" in sys.argv)
