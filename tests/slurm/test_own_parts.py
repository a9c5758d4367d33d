"""Parts of one's own on a cluster: their files travel with the jobs, and their errors are the run's."""

from __future__ import annotations

from pathlib import Path

from campaign import Campaign
from lab import Lab

MATRIX = """
base: {data: digits, optimiser: adam, batch: 64, epochs: 2}
grids: [{network: {from: parts.py:Mlp}, fails: [false, true], objective: {from: parts.py:free_ceb, rho: 1}}]
evaluate: [clean, {from: parts.py:inverted, subset: 50}]
resources: {train: {memory: 900M}, evaluate: {memory: 900M}}
"""
PARTS = """
from torch import nn
from torch.nn.functional import cross_entropy
from layers import block


class Mlp(nn.Module):
    def __init__(self, image, fails: bool = False):
        super().__init__()
        self.body, self.fails = block(image.channels * image.size**2, 16), fails

    def forward(self, x):
        if self.fails and len(x) > 2:
            raise ValueError("too many images")
        return self.body(x)


def free_ceb(model, f, z, y, gamma, free_nats: float = 0.1):
    residual = (model.log_encoder(z, f) - model.log_backward_encoder(z, y)).mean()
    return cross_entropy(model.logits(z), y) + gamma * (residual - free_nats).clamp(min=0)


def inverted(model, images, labels, rng):
    return model.classify(1 - images).argmax(dim=1) == labels
"""
LAYERS = "from torch import nn\ndef block(a, b): return nn.Sequential(nn.Flatten(), nn.Linear(a, b))\n"


def test_their_files_travel_and_their_errors_have_a_line(lab: Lab, tmp_path: Path) -> None:
    campaign = Campaign(lab, tmp_path, {"works": "", "fails": ""})
    campaign.matrix.write_text(MATRIX)
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "layers.py").write_text(LAYERS)
    submitted = campaign.submit()
    assert submitted.code == 0, submitted.err
    (tmp_path / "layers.py").write_text(f"# another comment\n{LAYERS}")  # the same numbers
    works, fails = campaign.ends(240).values()
    assert works["state"] == "done", works
    assert (fails["state"], "parts.py:14 in forward: ValueError: too many images" in fails["error"]) == ("failed", True)
    assert [record["type"] for record in campaign.records("works", "evaluate")[0]].count("result") == 2
