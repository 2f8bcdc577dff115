"""Built-in metrics."""

from __future__ import annotations

from collections.abc import Iterable

from ganaug import EvaluatorPlugin, hookimpl
from ganaug.builtin.metrics.authenticity import Authenticity, AuthenticityConfig
from ganaug.builtin.metrics.c2st import C2ST, C2STConfig
from ganaug.builtin.metrics.cas import CAS, CASConfig
from ganaug.builtin.metrics.colour_stats import ColourStats, ColourStatsConfig
from ganaug.builtin.metrics.density_coverage import DensityCoverage, DensityCoverageConfig
from ganaug.builtin.metrics.fid import FrechetDistance, FrechetDistanceConfig
from ganaug.builtin.metrics.inception_score import InceptionScore, InceptionScoreConfig
from ganaug.builtin.metrics.kid import KID, KIDConfig
from ganaug.builtin.metrics.ms_ssim import MSSSIM, MSSSIMConfig
from ganaug.builtin.metrics.pairwise_is import PairwiseIS, PairwiseISConfig
from ganaug.builtin.metrics.prc import PrecisionRecall, PrecisionRecallConfig

__all__ = ["ganaug_evaluators"]


@hookimpl
def ganaug_evaluators() -> Iterable[EvaluatorPlugin]:
    """Yield the metrics, the primary one, ``kid``, first."""
    yield EvaluatorPlugin(
        name="kid",
        summary="Kernel distance of features, unbiased at every n: the primary metric.",
        config=KIDConfig,
        build=KID,
    )
    yield EvaluatorPlugin(
        name="fid",
        summary="Frechet distance of features, biased at small n; FID with inception only.",
        config=FrechetDistanceConfig,
        build=FrechetDistance,
    )
    yield EvaluatorPlugin(
        name="prc",
        summary="Precision, recall and their F score, by nearest neighbours.",
        config=PrecisionRecallConfig,
        build=PrecisionRecall,
    )
    yield EvaluatorPlugin(
        name="is",
        summary="Inception score: sure and varied classes, of synthetic images alone.",
        config=InceptionScoreConfig,
        build=InceptionScore,
    )
    yield EvaluatorPlugin(
        name="pairwise-is",
        summary="Inception score of pairs, a dissimilarity: within and across real and synthetic.",
        config=PairwiseISConfig,
        build=PairwiseIS,
    )
    yield EvaluatorPlugin(
        name="density-coverage",
        summary="Density and coverage, by nearest neighbours; their values at one law are known.",
        config=DensityCoverageConfig,
        build=DensityCoverage,
    )
    yield EvaluatorPlugin(
        name="c2st",
        summary="Classifier two-sample test: accuracy at telling synthetic from real, best .5.",
        config=C2STConfig,
        build=C2ST,
    )
    yield EvaluatorPlugin(
        name="authenticity",
        summary="Signs of copying: authenticity, C_T, and nearest neighbours in train and holdout.",
        config=AuthenticityConfig,
        build=Authenticity,
    )
    yield EvaluatorPlugin(
        name="cas",
        summary="Classification accuracy score: train on synthetic images, test on real ones.",
        config=CASConfig,
        build=CAS,
    )
    yield EvaluatorPlugin(
        name="ms-ssim",
        summary="How alike pairs of images are, within real and within synthetic; shows collapse.",
        config=MSSSIMConfig,
        build=MSSSIM,
    )
    yield EvaluatorPlugin(
        name="colour-stats",
        summary="Mean red, green, blue and grey, real against synthetic.",
        config=ColourStatsConfig,
        build=ColourStats,
    )
