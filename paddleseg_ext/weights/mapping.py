"""Tensor names of three torch projects beside PaddleSeg's, both ways. No tensor is transposed.

The rules say every name, so that what they do not say is refused. mmsegmentation's PP-MobileSeg with the fusion
`origin` is left out on purpose: it lacks the gate's sigmoid there, and no weights of it were published.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from paddleseg_ext.weights.difference import Difference
from paddleseg_ext.weights.ignoring import Ignored
from paddleseg_ext_runtime.errors import CheckpointError

_BN = {"weight": "weight", "bias": "bias", "running_mean": "_mean", "running_var": "_variance"}
_COUNTER = "num_batches_tracked"  # torch counts the batches a batch norm saw, Paddle does not
_BACKBONE = "backbone."
Rule = tuple[str, str]  # a name in torch and in Paddle; # is a number, {a,b} one of several, the same in both


def _conv(torch: str, paddle: str | None = None, bias: bool = True) -> Iterator[Rule]:
    for leaf in ("weight", "bias")[: 1 + bias]:
        yield f"{torch}.{leaf}", f"{paddle or torch}.{leaf}"


def _norm(torch: str, paddle: str | None = None) -> Iterator[Rule]:
    yield from ((f"{torch}.{leaf}", f"{paddle or torch}.{other}") for leaf, other in _BN.items())


def _conv_bn(torch: str, names: Rule = ("conv.bn", "conv.bn"), paddle: str | None = None) -> Iterator[Rule]:
    """A convolution without bias and its batch norm, under what both sides call them."""
    (conv, norm), (paddle_conv, paddle_norm) = (pair.split(".") for pair in names)
    paddle = torch if paddle is None else paddle
    yield from _conv(f"{torch}.{conv}", f"{paddle}.{paddle_conv}", bias=False)
    yield from _norm(f"{torch}.{norm}", f"{paddle}.{paddle_norm}")


def _pp_mobileseg() -> Iterator[Rule]:
    names = ("conv.bn", "c.bn")
    block = "backbone.trans#.transformer_blocks.#"
    yield from _conv_bn("backbone.smb#.conv", names)
    yield from _conv_bn("backbone.smb#.blocks.#.{expand,bottleneck,linear}_conv", names)
    yield from _conv("backbone.smb#.blocks.#.mid_se.conv_act#.conv", "backbone.smb#.blocks.#.mid_se.conv#")
    yield from _conv_bn(f"{block}.attn.{{to_q,to_k,to_v,dwconv,pwconv}}", names)
    yield from _conv(f"{block}.attn.stride_conv.conv", f"{block}.attn.stride_conv.0")
    yield from _norm(f"{block}.attn.stride_conv.bn", f"{block}.attn.stride_conv.1")
    projection = f"{block}.attn.{{proj,proj_encode_row,proj_encode_column}}"
    yield from _conv_bn(projection, names, f"{projection}.1")
    yield (f"{block}.attn.pos_emb_{{rowq,rowk,columnq,columnk}}.pos_embed",) * 2
    yield from _conv_bn(f"{block}.mlp.fc#", names)
    yield from _conv(f"{block}.mlp.dwconv.conv", f"{block}.mlp.dwconv")
    yield from _conv_bn("backbone.inj_module.{embedding_list,act_embedding_list}.#")
    yield from _conv_bn("decode_head.linear_fuse")
    yield from _conv("decode_head.conv_seg")


def _topformer() -> Iterator[Rule]:
    names = ("c.bn", "c.bn")
    block = "backbone.trans.transformer_blocks.#"
    yield from _conv_bn("backbone.tpm.stem.#", names)
    yield from _conv_bn("backbone.tpm.layer#.conv.#", names)
    yield from _conv_bn(f"{block}.attn.{{to_q,to_k,to_v}}", names)
    yield from _conv_bn(f"{block}.attn.proj.#", names)
    yield from _conv_bn(f"{block}.mlp.fc#", names)
    yield from _conv(f"{block}.mlp.dwconv")
    yield from _conv_bn("backbone.SIM.#.{local_embedding,global_embedding,global_act}")
    yield from _conv_bn("decode_head.linear_fuse")
    yield from _conv("decode_head.conv_seg")


def _seaformer() -> Iterator[Rule]:
    names, head = ("c.bn", "_conv._batch_norm"), ("conv.bn", "_conv._batch_norm")
    block = "backbone.trans#.transformer_blocks.#"
    yield from _conv_bn("backbone.smb#.stem_block.#", names)
    yield from _conv_bn("backbone.smb#.layer#.conv.#", names)
    yield from _conv_bn(f"{block}.attn.{{to_q,to_k,to_v,dwconv,pwconv}}", names)
    yield from _conv_bn(f"{block}.attn.{{proj,proj_encode_row,proj_encode_column}}.#", names)
    yield (f"{block}.attn.pos_emb_{{rowq,rowk,columnq,columnk}}.pos_embed",) * 2
    yield from _conv_bn(f"{block}.mlp.fc#", names)
    yield from _conv(f"{block}.mlp.dwconv")
    yield from _conv_bn("decode_head.fuse#.{local_embedding,global_act}", head, "fuse#.{local_embedding,global_act}")
    yield from _conv_bn("decode_head.linear_fuse", head, "linear_fuse")
    yield from _conv("decode_head.conv_seg", "cls_seg")


@dataclass(frozen=True)
class Project:
    """A torch project: its name, its rules, and what its network does otherwise than PaddleSeg's (`settings`)."""

    name: str
    rules: Callable[[], Iterator[Rule]]
    settings: Mapping[str, str] = field(default_factory=dict)
    classifier: tuple[str, ...] = ()  # of its ImageNet checkpoints, which PaddleSeg's network has not

    @cached_property
    def to_paddle(self) -> "Renaming":
        """Torch's names to Paddle's."""
        return Renaming(list(self.rules()))

    @cached_property
    def to_torch(self) -> "Renaming":
        """Paddle's names to torch's."""
        return Renaming([(paddle, torch) for torch, paddle in self.rules()])


class Renaming:
    """Rules in one direction; called with a name it gives the other name, or None."""

    def __init__(self, rules: list[Rule]):
        self._rules = [(_pattern(old), re.split(r"#|\{[^}]*\}", new)) for old, new in rules]

    def __call__(self, name: str) -> str | None:
        """The name on the other side, or None when no rule says it."""
        for pattern, pieces in self._rules:
            if match := pattern.fullmatch(name):
                between = [*match.groups(), ""]
                return "".join(piece + group for piece, group in zip(pieces, between, strict=True))
        return None


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(r"\#", "([0-9]+)")
    return re.compile(re.sub(r"\\\{([^}]*)\\\}", lambda match: f"({match[1].replace(',', '|')})", escaped))


PROJECTS = (
    Project("mmsegmentation's PP-MobileSeg", _pp_mobileseg),
    # The authors pool the pyramid to a size rounded up, PaddleSeg to one rounded down.
    Project("the official TopFormer", _topformer, {"backbone.ppa.pool": "adaptive"}),
    Project("the official SeaFormer", _seaformer, classifier=("linear.weight", "linear.bias")),
)


@dataclass(frozen=True)
class Conversion:
    """Tensors under the other side's names, and what became of the rest.

    `counters` is the number of batch norms whose count of batches was dropped, or added as 0; `unused` are tensors
    of an ImageNet classifier, dropped. `settings` are of the network (sublayer.attribute -> value). `left` are the
    tensors that were ignored: their names in Paddle, or as the file has them where no rule says them.
    """

    project: Project
    tensors: dict[str, np.ndarray]
    counters: int
    unused: tuple[str, ...]
    settings: dict[str, str]
    is_backbone: bool
    left: frozenset[str] = frozenset()


def torch_to_paddle(tensors: Mapping[str, np.ndarray], source: object, ignored: Ignored | None = None) -> Conversion:
    """Tensors of one of the three projects under PaddleSeg's names, but for those `ignored` by their names in either.

    A backbone's file, without `backbone.` before its names, stays one. Raises CheckpointError, which names
    `source`, for a file of none of the three, and with a table for one that holds a name no rule says.
    """
    project, prefix, left = _recognise(tensors, [(one, one.to_paddle) for one in PROJECTS], source, ignored)
    counters = {name for name in tensors if name.rpartition(".")[2] == _COUNTER and _norm_of(name) in tensors}
    unused = tuple(name for name in project.classifier if prefix and name in tensors and name not in left)
    rest = {name: value for name, value in tensors.items() if name not in {*counters, *unused, *left}}
    renamed = _renamed(rest, project.to_paddle, prefix, f"{source} is of {project.name}, but holds tensors it has not")
    settings = {name.removeprefix(prefix): value for name, value in project.settings.items()}
    in_paddle = {(project.to_paddle(prefix + name) or name).removeprefix(prefix) for name in left - counters}
    return Conversion(project, renamed, len(counters - left), unused, settings, bool(prefix), left=frozenset(in_paddle))


def paddle_to_torch(tensors: Mapping[str, np.ndarray], source: object, ignored: Ignored | None = None) -> Conversion:
    """Tensors of one of PaddleSeg's three networks under the names of the torch project, but for those `ignored`.

    Raises CheckpointError as `torch_to_paddle` does.
    """
    project, prefix, left = _recognise(tensors, [(one, one.to_torch) for one in PROJECTS], source, ignored)
    message = f"{source} is of the network of {project.name}, but holds tensors it has not"
    rest = {name: value for name, value in tensors.items() if name not in left}
    converted, counters = {}, 0
    for name, value in _renamed(rest, project.to_torch, prefix, message).items():
        converted[name] = value
        if name.endswith(".running_var"):
            converted[f"{name.rpartition('.')[0]}.{_COUNTER}"] = np.zeros([], "int64")
            counters += 1
    return Conversion(project, converted, counters, (), {}, bool(prefix), left=frozenset(left))


def _recognise(
    tensors: Mapping[str, np.ndarray],
    projects: list[tuple[Project, Renaming]],
    source: object,
    ignored: Ignored | None,
) -> tuple[Project, str, set[str]]:
    """The project that knows most of the names, at least half of those a pattern does not ignore.

    And what to put before each name, if anything, and the names that a pattern matches on either side.
    """
    prefix = "" if any(name.startswith(_BACKBONE) for name in tensors) else _BACKBONE
    ignored = ignored or Ignored()
    left = ignored.among(tensors, prefix)
    names = [name for name in tensors if name.rpartition(".")[2] != _COUNTER and name not in left]
    known = [(sum(rename(prefix + name) is not None for name in names), one, rename) for one, rename in projects]
    count, project, renaming = max(known, key=lambda entry: entry[0])
    if not names or count * 2 < len(names):
        holds = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise CheckpointError(
            f"{source} is a checkpoint of none of {', '.join(one.name for one, _ in projects)}, "
            f"nor of the backbone of one: it holds {holds or 'no tensors'}"
        )
    renamed = {name: new.removeprefix(prefix) for name in tensors if (new := renaming(prefix + name))}
    matching = ignored.among(renamed.values(), prefix)
    return project, prefix, left | {name for name, new in renamed.items() if new in matching}


def _renamed(tensors: Mapping[str, np.ndarray], rename: Renaming, prefix: str, message: str) -> dict[str, np.ndarray]:
    names = {name: rename(prefix + name) for name in tensors}
    unknown = tuple(name for name, new in names.items() if new is None)
    if unknown:
        table = Difference(missing=(), unexpected=unknown, misshapen=()).table()
        raise CheckpointError(f"{message}:\n{table}\nLeave them out with --ignore and their names, if they may be lost")
    return {new.removeprefix(prefix): tensors[name] for name, new in names.items()}


def _norm_of(counter: str) -> str:
    return f"{counter.rpartition('.')[0]}.running_var"
