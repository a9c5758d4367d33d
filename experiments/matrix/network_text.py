"""A network as the command line has it: `timm:resnet50.a1_in1k`, `torchvision:vit_b_16`, or as in a matrix."""

from __future__ import annotations

import msgspec
import yaml

from experiments import library_models
from experiments.errors import Fault, InputError
from experiments.matrix.spec_fields import nest, read_field, schema
from experiments.spec import LibraryNetwork, Network, Run


def read_network(place: str, text: str) -> Network:
    """Return the network that a text names. Raises InputError, with the `place`, for one that there is none of."""
    name, colon, model = text.partition(":")
    if colon and name in library_models.EXTRAS:
        text = f"{{name: {name}, model: {model}}}"
    faults: list[Fault] = []
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        assert node is not None
        values = read_field(schema(Run), ("network", "name"), node, faults)
        leaves = nest({path: item.value for path, item in values.items()})
        network: Network = msgspec.convert(leaves.get("network"), Network)
    except (yaml.YAMLError, AssertionError, msgspec.ValidationError) as error:
        wrong = faults[0].message if faults else str(error).splitlines()[0]
        raise InputError(f"{place} {text}", wrong, "as in a matrix, or timm:MODEL, torchvision:MODEL") from None
    if isinstance(network, LibraryNetwork) and (wrong := library_models.unknown_model(network)):
        raise InputError(place, wrong)
    return network
