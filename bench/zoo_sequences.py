"""Networks over sequences: transformers of the `transformers` package with random weights, and PyTorch's recurrent layers.

Without padding an attention mask says nothing, but under capture and tracing `transformers` builds one all the same, and a mask of any content takes
PyTorch off its flash attention. `without_mask` keeps it from being built, which changes no result.
"""
import contextlib
import importlib

import torch

from bench.zoo_images import Picked


class Bert(torch.nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64, intermediate_size=4 * width, attn_implementation="sdpa")
        self.module = BertModel(config, add_pooling_layer=False)

    def forward(self, ids):
        return self.module(input_ids=ids).last_hidden_state


def bert(width, layers):
    return Bert(width, layers)


class Gpt2(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from transformers import GPT2Config, GPT2Model

        self.module = GPT2Model(GPT2Config(attn_implementation="sdpa", use_cache=False))

    def forward(self, ids):
        # A mask of ones is what no mask means; saying so keeps the exporter from tracing the search for packed sequences.
        return self.module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state


def gpt2():
    return Gpt2()


def recurrent(kind, width, hidden):
    return Picked(getattr(torch.nn, kind)(width, hidden, 2, bidirectional=True), lambda out: out[0])


# What builds masks, by the module of `transformers` that calls it.
MASK_MAKERS = (("transformers.models.bert.modeling_bert", "create_bidirectional_mask"), ("transformers.models.gpt2.modeling_gpt2", "create_causal_mask"))


@contextlib.contextmanager
def without_mask():
    kept = []
    for module_name, function in MASK_MAKERS:
        module = importlib.import_module(module_name)
        if not hasattr(module, function):
            raise RuntimeError(f"{module_name} of this version has no {function}: masks cannot be left out")
        kept.append((module, function, getattr(module, function)))
        setattr(module, function, lambda *arguments, **named: None)
    try:
        yield
    finally:
        for module, function, before in kept:
            setattr(module, function, before)
