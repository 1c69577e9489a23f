"""Every metric by name; to add a metric, write its function and add a line here."""

from medtransfer.evaluation import binary, multiclass, values
from medtransfer.evaluation.weighted import Metric

METRICS: dict[str, Metric] = {
    "auroc": binary.auroc,
    "auprc": binary.average_precision,
    "auprc_trapezoid": binary.auprc_trapezoid,
    "f1": binary.f1,
    "f1_negative": binary.f1_negative,
    "accuracy": binary.accuracy,
    "sensitivity": binary.sensitivity,
    "specificity": binary.specificity,
    "brier": binary.brier,
    "ece": binary.expected_calibration_error,
    "mse": values.mean_squared_error,
    "mae": values.mean_absolute_error,
    "pearson": values.pearson,
    "r2": values.r_squared,
    "macro_auroc": multiclass.macro_auroc,
    "macro_auprc": multiclass.macro_auprc,
    "macro_f1": multiclass.macro_f1,
    "top_1": multiclass.top_1_accuracy,
    "top_5": multiclass.top_5_accuracy,
    "macro_ece": multiclass.confidence_calibration_error,
    "macro_mse": multiclass.squared_error,
}
"""Name → function of (target, score[, threshold]); the names are those of tables, trackers and ``selection``."""
