"""Converts tensor names between three torch projects and PaddleSeg, both ways. No tensor is transposed.

The rules list every tensor name; a name without a rule is an error. mmsegmentation's PP-MobileSeg with the fusion
`origin` has no rules on purpose: its gate lacks the sigmoid, and no weights of it were published.
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
Rule = tuple[str, str]  # a name in torch, a name in Paddle; # is any number, {a,b} is a or b, the same in both


def _conv(torch: str, paddle: str | None = None, bias: bool = True) -> Iterator[Rule]:
    for leaf in ("weight", "bias")[: 1 + bias]:
        yield f"{torch}.{leaf}", f"{paddle or torch}.{leaf}"


def _norm(torch: str, paddle: str | None = None) -> Iterator[Rule]:
    yield from ((f"{torch}.{leaf}", f"{paddle or torch}.{other}") for leaf, other in _BN.items())


def _conv_bn(torch: str, names: Rule = ("conv.bn", "conv.bn"), paddle: str | None = None) -> Iterator[Rule]:
    """A convolution without bias and its batch norm; `names` holds both names in torch and in Paddle."""
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
    """A torch project: its name, its rules, and the `settings` in which its network differs from PaddleSeg's."""

    name: str
    rules: Callable[[], Iterator[Rule]]
    settings: Mapping[str, str] = field(default_factory=dict)
    classifier: tuple[str, ...] = ()  # in its ImageNet checkpoints; PaddleSeg's network has none

    @cached_property
    def to_paddle(self) -> "Renaming":
        """Torch's names to Paddle's."""
        return Renaming(list(self.rules()))

    @cached_property
    def to_torch(self) -> "Renaming":
        """Paddle's names to torch's."""
        return Renaming([(paddle, torch) for torch, paddle in self.rules()])


class Renaming:
    """The rules in one direction: a function from a name to the name on the other side."""

    def __init__(self, rules: list[Rule]):
        self._rules = [(_pattern(old), re.split(r"#|\{[^}]*\}", new)) for old, new in rules]

    def __call__(self, name: str) -> str | None:
        """The name on the other side, or None when no rule covers `name`."""
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
    # The authors round the size of the pooled pyramid up, PaddleSeg rounds it down.
    Project("the official TopFormer", _topformer, {"backbone.ppa.pool": "adaptive"}),
    Project("the official SeaFormer", _seaformer, classifier=("linear.weight", "linear.bias")),
)


@dataclass(frozen=True)
class Conversion:
    """Tensors under the names of the other side, and a record of the tensors that were not converted.

    `counters` is the number of batch norms whose counter of batches was dropped, or added as 0. `unused` names the
    dropped tensors of an ImageNet classifier. `settings` belong to the network (sublayer.attribute -> value).
    `ignored_names` are the ignored tensors, by Paddle's name, or by the file's own name if no rule covers it.
    """

    project: Project
    tensors: dict[str, np.ndarray]
    counters: int
    unused: tuple[str, ...]
    settings: dict[str, str]
    is_backbone: bool
    ignored_names: frozenset[str] = frozenset()


def torch_to_paddle(tensors: Mapping[str, np.ndarray], source: object, ignored: Ignored | None = None) -> Conversion:
    """Converts the tensors of one of the three projects to PaddleSeg's names, except those `ignored` by either name.

    The file of a backbone, without `backbone.` before its names, stays one. Raises CheckpointError, which names
    `source`, for a file of another project, and with a table for names that no rule covers.
    """
    renamings = [(project, project.to_paddle) for project in PROJECTS]
    project, prefix, ignored_names = _recognise(tensors, renamings, source, ignored)
    counters = {name for name in tensors if name.rpartition(".")[2] == _COUNTER and _norm_of(name) in tensors}
    unused = tuple(name for name in project.classifier if prefix and name in tensors and name not in ignored_names)
    rest = {name: value for name, value in tensors.items() if name not in {*counters, *unused, *ignored_names}}
    renamed = _renamed(rest, project.to_paddle, prefix, f"{source} is of {project.name}, but holds tensors it has not")
    settings = {name.removeprefix(prefix): value for name, value in project.settings.items()}
    in_paddle = {(project.to_paddle(prefix + name) or name).removeprefix(prefix) for name in ignored_names - counters}
    return Conversion(
        project, renamed, counters=len(counters - ignored_names), unused=unused, settings=settings,
        is_backbone=bool(prefix), ignored_names=frozenset(in_paddle),
    )  # fmt: skip


def paddle_to_torch(tensors: Mapping[str, np.ndarray], source: object, ignored: Ignored | None = None) -> Conversion:
    """Converts the tensors of one of PaddleSeg's three networks to the torch project's names, except those `ignored`.

    Raises CheckpointError as `torch_to_paddle` does.
    """
    renamings = [(project, project.to_torch) for project in PROJECTS]
    project, prefix, ignored_names = _recognise(tensors, renamings, source, ignored)
    message = f"{source} is of the network of {project.name}, but holds tensors it has not"
    rest = {name: value for name, value in tensors.items() if name not in ignored_names}
    converted, counters = {}, 0
    for name, value in _renamed(rest, project.to_torch, prefix, message).items():
        converted[name] = value
        if name.endswith(".running_var"):
            converted[f"{name.rpartition('.')[0]}.{_COUNTER}"] = np.zeros([], "int64")
            counters += 1
    return Conversion(
        project, converted, counters=counters, unused=(), settings={}, is_backbone=bool(prefix),
        ignored_names=frozenset(ignored_names),
    )  # fmt: skip


def _recognise(
    tensors: Mapping[str, np.ndarray],
    projects: list[tuple[Project, Renaming]],
    source: object,
    ignored: Ignored | None,
) -> tuple[Project, str, set[str]]:
    """The project whose rules cover most names, the prefix that the names lack, and the ignored names.

    The rules must cover at least half of the names that are not ignored. A pattern may match a name on either side.
    """
    prefix = "" if any(name.startswith(_BACKBONE) for name in tensors) else _BACKBONE
    ignored = ignored or Ignored()
    ignored_names = ignored.among(tensors, prefix)
    names = [name for name in tensors if name.rpartition(".")[2] != _COUNTER and name not in ignored_names]
    counts = [sum(rename(prefix + name) is not None for name in names) for _, rename in projects]
    count = max(counts)
    project, renaming = projects[counts.index(count)]
    if not names or count * 2 < len(names):
        holds = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise CheckpointError(
            f"{source} is a checkpoint of none of {', '.join(project.name for project, _ in projects)}, "
            f"nor of the backbone of one: it holds {holds or 'no tensors'}"
        )
    renamed = {name: new.removeprefix(prefix) for name in tensors if (new := renaming(prefix + name))}
    matching = ignored.among(renamed.values(), prefix)
    return project, prefix, ignored_names | {name for name, new in renamed.items() if new in matching}


def _renamed(tensors: Mapping[str, np.ndarray], rename: Renaming, prefix: str, message: str) -> dict[str, np.ndarray]:
    names = {name: rename(prefix + name) for name in tensors}
    unknown = tuple(name for name, new in names.items() if new is None)
    if unknown:
        table = Difference(missing=(), unexpected=unknown, misshapen=()).table()
        raise CheckpointError(f"{message}:\n{table}\nLeave them out with --ignore if they are not needed")
    return {new.removeprefix(prefix): tensors[name] for name, new in names.items()}


def _norm_of(counter: str) -> str:
    return f"{counter.rpartition('.')[0]}.running_var"
