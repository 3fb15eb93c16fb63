"""What the known public checkpoints do not tell about themselves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Settings of one published checkpoint, from its training script or model card."""

    base: str | None = None
    """hub name of the model that it was trained from; None where unknown"""
    lora_alpha: int | float = 32
    """LoRA's alpha; the scale is alpha / r"""
    remove_eos: bool = True
    """False where an eos stands before <bot> and after <eot>"""
    n_thoughts: int = 6
    """number of continuous thoughts"""
    max_new_tokens: int = 256
    """longest answer of the published evaluation, in tokens"""


PUBLISHED = Preset()
"""the settings of the published training scripts, for checkpoints that are not listed"""

_LLAMA_1B = "meta-llama/Llama-3.2-1B-Instruct"
PRESETS: dict[str, Preset] = {
    "zen-E/CODI-gpt2": Preset("openai-community/gpt2"),
    "zen-E/CODI-llama3.2-1b-Instruct": Preset(_LLAMA_1B),
    "internlm/SIM_COT-GPT2-CODI": Preset("openai-community/gpt2"),
    "internlm/SIM_COT-LLaMA3-CODI-1B": Preset(_LLAMA_1B),
    "internlm/SIM_COT-LLaMA3-CODI-3B": Preset("meta-llama/Llama-3.2-3B-Instruct"),
    "internlm/SIM_COT-LLaMA3-CODI-8B": Preset("meta-llama/Llama-3.1-8B-Instruct"),
    "bcywinski/codi_llama1b-answer_only": Preset(_LLAMA_1B, remove_eos=False),
}


def preset_for(name: str) -> Preset:
    """The preset of a hub name, or of a folder that is called like the last part of one; else the published one."""
    for known, preset in PRESETS.items():
        if name == known or name.rstrip("/").split("/")[-1] == known.split("/")[-1]:
            return preset
    return PUBLISHED
