"""What options of a few fixed words may be. Help, completion and refusals read it from the types.

The words are written here again because the modules that know them load torch; a test holds the two against each other.
"""

from typing import Literal

Mode = Literal["zero", "mean", "resample", "set"]
Splice = Literal["add", "replace"]
Propagate = Literal["both", "cache", "recurrence", "split"]
Later = Literal["free", "mean", "clean"]
Padding = Literal["masked", "official"]
AnswerRule = Literal["after-phrase", "last"]
What = Literal["residual", "thought", "features"]
PairKind = Literal["same", "different", "both"]
ScreenOrder = Literal["index", "attribution"]
CurveOrder = Literal["attribution", "screen", "frequency"]
Correction = Literal["discrete", "heyse", "max-t", "holm", "bh"]
MapLater = Literal["free", "mean", "clean", "only", "each"]
MapMode = Literal["mean", "zero"]
Direction = Literal["onwards", "upto"]
CaptureType = Literal["float32", "bfloat16"]
ModelType = Literal["float32", "bfloat16", "float16"]
Architecture = Literal["topk", "batchtopk", "matryoshka", "jumprelu", "gated", "standard", "transcoder"]
Freeze = Literal["none", "decoder", "encoder", "all"]
KeepRule = Literal["abs", "relu"]
SAEFormat = Literal["saelens", "published"]
RunFormat = Literal["inspect", "parquet", "csv"]
ProbeSource = Literal["residuals", "thoughts", "latents"]
ProbeMethod = Literal["ridge", "logistic"]
Engine = Literal["local", "processes", "ray"]
