"""Inception-v3 as FID uses it, through torch-fidelity."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import torch
from torch import Tensor

from ganaug import FeatureExtractor, ImageSpec
from ganaug.builtin.extractors.config import InceptionConfig
from ganaug.builtin.extractors.inputs import batched, check_images, check_spec, digest
from ganaug.errors import ConfigError

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

__all__ = ["SHA256", "Inception"]

#: Of torch-fidelity's weights-inception-2015-12-05-6726825d.pth, 95,628,359 bytes.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

_VERSION = 1
_SIDE = 299


class Inception(FeatureExtractor):
    """The 2048 features of Inception-v3 that FID compares (Heusel et al. 2017), and its logits.

    Images become uint8 RGB, grey ones by repeating the channel, as torch-fidelity expects them;
    it resizes them. Its weights come in a pickle, which only torch-fidelity reads, from the very
    bytes whose SHA-256 was right.

    Takes 1 or 3 channels; raises ShapeError for other images, and ConfigError, when it is built,
    for weights that are missing, wrong or out of reach.
    """

    dimension = 2048
    channels = 3
    size = (_SIDE, _SIDE)
    dtype = "uint8"
    resize = f"to {_SIDE}x{_SIDE} px, bilinear as TensorFlow 1 (torch-fidelity)"

    def __init__(self, config: InceptionConfig, spec: ImageSpec) -> None:
        check_spec("inception", spec)
        self._channels = spec.channels
        weights, self._sha256 = _read_weights(config.weights)
        self._network = _load(weights)

    def extract(self, images: Tensor) -> Tensor:
        """Return float32 (N, 2048) for float32 images (N, C, H, W) in [-1, 1]."""
        return self._run(images, 0, self.dimension)

    def logits(self, images: Tensor) -> Tensor:
        """Return float32 (N, 1008): logits without the bias, as the Inception Score has them."""
        return self._run(images, 1, 1008)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 over that of the weights and the version of this code."""
        facts = {"extractor": "inception", "version": _VERSION, "weights": self._sha256}
        return digest(facts, {})

    def _run(self, images: Tensor, output: int, width: int) -> Tensor:
        check_images("inception", images, channels=self._channels)
        network = self._network.to(images.device)

        def run(part: Tensor) -> Tensor:
            result: Tensor = network(_to_uint8(part))[output]
            return result

        return batched(run, images, width)


def _to_uint8(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8 RGB; values outside are clamped."""
    values = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return values.expand(-1, 3, -1, -1)


def _read_weights(path: Path | None) -> tuple[bytes, str]:
    """Return the weights and their SHA-256. Raises ConfigError unless it is the expected one."""
    source = _download() if path is None else path.expanduser()
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"Cannot read the Inception weights {source}: {error.strerror}. {_remedy()}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ConfigError(
            f"{source} does not hold torch-fidelity's Inception weights: expected the SHA-256 "
            f"{SHA256}, found {found}; it was not opened. {_remedy()}"
        )
    return content, found


def _download() -> Path:
    """Return torch's cached file of the weights, downloaded if it is not there yet.

    This is where torch-fidelity itself looks; it checks no hash, so that we fetch the file and
    hand it over.
    """
    from torch.hub import download_url_to_file, get_dir
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3 as URL

    cached = Path(get_dir()) / "checkpoints" / Path(URL).name
    if cached.exists():
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(URL, str(cached), SHA256, progress=False)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is the other
        reason = error.reason if isinstance(error, URLError) else error
        raise ConfigError(
            f"The Inception weights are not at {cached} and could not be downloaded ({reason}). "
            f"{_remedy()}"
        ) from error
    return cached


def _remedy() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3 as URL

    return (
        f"Download {URL} and pass it (--extractor inception:weights=PATH), or choose another "
        "extractor, such as random-conv."
    )


def _load(weights: bytes) -> FeatureExtractorInceptionV3:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], io.BytesIO(weights)
    )
