"""Writes a BERT sentence embedder from its safetensors as an fp32 ONNX graph, pooling and norm included.

usage: python export_onnx.py MODEL_FOLDER OUT.onnx
needs: numpy onnx safetensors

The graph is what a careful user of ONNX Runtime would hand in: plain operators in the shapes that its
optimiser fuses (attention, Gelu, skip and layer norm), weights as constants, any batch and any length.
"""

import json
import math
import pathlib
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Graph:
    """Collects nodes and constants; every method returns the name of the value it makes."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes, self.constants, self.made = [], {}, 0

    def constant(self, name, value):
        if name not in self.constants:
            value = numpy.ascontiguousarray(value)
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def floats(self, value):
        return self.constant(f"f32:{value}", numpy.array(value, numpy.float32))

    def ints(self, *values):
        return self.constant(f"i64:{values}", numpy.array(values, numpy.int64))

    def weight(self, name, transposed=False):
        value = self.weights[name].astype(numpy.float32)
        return self.constant(name, value.T if transposed else value)

    def add(self, operator, *inputs, out=None, **attributes):
        self.made += 1
        out = out or f"{operator}_{self.made}"
        self.nodes.append(helper.make_node(operator, list(inputs), [out], **attributes))
        return out

    def linear(self, value, name):
        product = self.add("MatMul", value, self.weight(name + ".weight", transposed=True))
        return self.add("Add", product, self.weight(name + ".bias"))

    def norm(self, value, name, epsilon):
        gain, bias = self.weight(name + ".weight"), self.weight(name + ".bias")
        return self.add("LayerNormalization", value, gain, bias, axis=-1, epsilon=epsilon)

    def gelu(self, value):
        scaled = self.add("Div", value, self.floats(math.sqrt(2)))
        bell = self.add("Add", self.add("Erf", scaled), self.floats(1))
        return self.add("Mul", self.add("Mul", value, bell), self.floats(0.5))


def embeddings(graph, epsilon):
    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    length = graph.add("Slice", graph.add("Shape", "input_ids"), graph.ints(1), graph.ints(2))
    every = graph.weight("embeddings.position_embeddings.weight")
    positions = graph.add("Slice", every, graph.ints(0), length)
    kind = graph.weights["embeddings.token_type_embeddings.weight"][0].astype(numpy.float32)
    total = graph.add("Add", graph.add("Add", words, positions), graph.constant("kind", kind))
    return graph.norm(total, "embeddings.LayerNorm", epsilon)


def attention(graph, states, name, heads, hidden, mask):
    split, joined = graph.ints(0, 0, heads, hidden // heads), graph.ints(0, 0, hidden)
    parts = []
    for part, order in ("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]):
        rows = graph.add("Reshape", graph.linear(states, f"{name}.self.{part}"), split)
        parts.append(graph.add("Transpose", rows, perm=order))
    query, key, value = parts
    scores = graph.add("Div", graph.add("MatMul", query, key), graph.floats(math.sqrt(hidden // heads)))
    shares = graph.add("Softmax", graph.add("Add", scores, mask), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.linear(graph.add("Reshape", mixed, joined), f"{name}.output.dense")


def pooled(graph, states, mask):
    spread = graph.add("Unsqueeze", mask, graph.ints(2))
    total = graph.add("ReduceSum", graph.add("Mul", states, spread), graph.ints(1), keepdims=0)
    mean = graph.add("Div", total, graph.add("ReduceSum", mask, graph.ints(1), keepdims=1))
    return graph.add("Div", mean, graph.add("ReduceL2", mean, axes=[1], keepdims=1), out="embedding")


def build(folder):
    config = json.loads((folder / "config.json").read_text())
    stored = load_file(folder / "model.safetensors")
    graph = Graph({name.removeprefix("bert."): value for name, value in stored.items()})
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    epsilon = config.get("layer_norm_eps", 1e-12)
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    missing = graph.add("Sub", graph.floats(1), graph.add("Unsqueeze", mask, graph.ints(1, 2)))
    blocked = graph.add("Mul", missing, graph.floats(-10000))
    states = embeddings(graph, epsilon)
    for number in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{number}"
        mixed = attention(graph, states, f"{name}.attention", heads, hidden, blocked)
        states = graph.norm(graph.add("Add", mixed, states), f"{name}.attention.output.LayerNorm", epsilon)
        wide = graph.gelu(graph.linear(states, f"{name}.intermediate.dense"))
        back = graph.linear(wide, f"{name}.output.dense")
        states = graph.norm(graph.add("Add", back, states), f"{name}.output.LayerNorm", epsilon)
    pooled(graph, states, mask)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", hidden])
    made = helper.make_graph(graph.nodes, "embedder", inputs, [output], list(graph.constants.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


if __name__ == "__main__":
    onnx.save(build(pathlib.Path(sys.argv[1])), sys.argv[2])
