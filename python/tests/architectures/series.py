"""Series of numbers to what comes next."""

from .architecture import Architecture, made, numbers, Drawn

import torch

SERIES_SIZES = dict(prediction_length=4, context_length=8, d_model=32, encoder_layers=1, decoder_layers=2,
                    encoder_ffn_dim=48, decoder_ffn_dim=48, lags_sequence=[1, 2, 3],
                    num_time_features=2)
ONES = Drawn((2, 11), lambda shape, generator: torch.ones(shape))


def forecast(name, kind, configuration, **sizes):
    """The past, with its times, and the future's times to the parameters of a distribution."""
    return Architecture(name, made(kind, configuration, **SERIES_SIZES, **sizes), {
        "past_values": numbers(2, 11), "past_time_features": numbers(2, 11, 2),
        "past_observed_mask": ONES, "future_values": numbers(2, 4),
        "future_time_features": numbers(2, 4, 2), "use_cache": False},
        latched=("past_values", "past_time_features", "past_observed_mask"))


SERIES = [
    forecast("Time Series Transformer", "TimeSeriesTransformerModel", "TimeSeriesTransformerConfig"),
    forecast("Informer", "InformerModel", "InformerConfig", attention_type="prob", sampling_factor=2),
    forecast("Autoformer", "AutoformerModel", "AutoformerConfig", label_length=4, moving_average=3),
    Architecture("PatchTST", made(
        "PatchTSTForPrediction", "PatchTSTConfig", num_input_channels=2, context_length=16,
        prediction_length=4, patch_length=4, patch_stride=4, d_model=32, num_hidden_layers=2,
        num_attention_heads=4, ffn_dim=48), {"past_values": numbers(2, 16, 2)}),
    Architecture("PatchTSMixer", made(
        "PatchTSMixerForPrediction", "PatchTSMixerConfig", num_input_channels=2, context_length=16,
        prediction_length=4, patch_length=4, patch_stride=4, d_model=16, num_layers=2),
        {"past_values": numbers(2, 16, 2)}),
    Architecture("TimesFM", made(
        "TimesFmModel", "TimesFmConfig", patch_length=4, context_length=16, horizon_length=4,
        num_hidden_layers=2, hidden_size=32, intermediate_size=48, head_dim=8,
        num_attention_heads=4), {
        "past_values": numbers(2, 16), "past_values_padding": Drawn((2, 16), lambda shape, _: (
            torch.zeros(shape, dtype=torch.int64))), "freq": Drawn((2, 1), lambda shape, _: (
                torch.zeros(shape, dtype=torch.int64)))}),
]
