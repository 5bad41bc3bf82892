"""The configuration: every key, its type, its default and what it means.

One dataclass per section. A recipe in ``configs/`` sets only what differs from these defaults;
``tdn train --help`` prints this file's texts. Reading YAML and command-line overrides is
``tdn.config_loading``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Union


@dataclass(frozen=True)
class TemporalConfig:
    """Details of the temporal modules; the defaults are the published network's."""

    fusions: Literal["both", "first", "second"] = "both"
    """S-TDM's fusions: after the stem (first), after stage 1 (second), or both."""
    fusion_weights: Union[tuple[float, float], None] = None  # noqa: UP007
    """[frame, differences] in a fusion; null: [.5, .5] for 8 segments, else [.75, .25]."""
    directions: Literal["both", "next", "previous"] = "both"
    """L-TDM's differences: to the next segment, to the previous one, or both."""
    branches: Literal["both", "half", "full", "none"] = "both"
    """L-TDM's convs on the differences, at half or full resolution, both, or none."""
    stages: tuple[int, ...] = (2, 3, 4)
    """Stages, 1 to 4, whose blocks carry an L-TDM."""


@dataclass
class ModelConfig:
    """The network (see ``tdn.create_model``)."""

    name: str = "tdn_resnet50"
    """Network (tdn, tsn: frames only, or an ablation), "_", resnet10/18/34/50/101/152."""
    num_segments: int = 8
    """Segments per clip, T; each is 5 consecutive frames."""
    num_classes: int = 0
    """Number of classes; required."""
    dropout: float = 0.5
    """Probability of dropping a feature before the classifier, 0 to 1."""
    width: int = 64
    """Channels of the stem; 64 is the published ResNet, smaller makes a smaller network."""
    pretrained: Union[str, None] = None  # noqa: UP007 - jsonargparse shows this form in its help
    """Checkpoint to start from: upstream's, torchvision's ImageNet ResNet, or one of ours."""
    new_head: bool = False
    """Leave out the checkpoint's classifier, to fine-tune on other classes."""
    partial_bn: bool = False
    """Train no batch norm but the first: the others keep their statistics and weights."""
    temporal: TemporalConfig = field(default_factory=TemporalConfig)
    """Ablations (paper section 4.3)."""


@dataclass
class DataConfig:
    """The clips: which videos, and how they become network input."""

    train_list: str = ""
    """Training clips: a list of "path label" or "path frames label" lines, a CSV file with a
    header, a folder with a folder per class, tar shards (train-{000..031}.tar), or a manifest."""
    validation_list: str = ""
    """Validation clips, in any of these forms."""
    root: str = ""
    """Folder that the list's paths are relative to; empty means the list's own folder."""
    classes: str = ""
    """File with a class name per line, the first is label 0; for lists that give names. Empty takes
    the list's own names, sorted."""
    frame_template: str = ""
    """Names of the pictures in folders of frames, such as img_{:05d}.jpg; empty finds it out."""
    min_frames: int = 1
    """Training: leave out shorter clips; the released code's folders of frames had at least 8."""
    shuffle_shards: int = 16
    """Tar shards read side by side: the clips of so many are shuffled together; 0 shuffles all
    clips, which reads every shard here and there."""
    batch_size: int = 8
    """Clips that pass the network together, per process; a step has training.accumulate times as
    many."""
    sampling: Literal["sparse", "dense"] = "sparse"
    """sparse: segments from equal parts of the whole video (paper section 3.1); dense: from a part
    of dense_span frames."""
    dense_span: int = 64
    """dense: frames over which the starts of the segments are spread evenly."""
    stride: int = 1
    """Frames from one frame of a segment to the next; 1 as published."""
    crop_size: Union[int, tuple[int, int]] = 224  # noqa: UP007
    """Network input in pixels: one number for a square, or [height, width]."""
    short_side: int = 256
    """Validation: the shorter side is resized to this before the centre crop, pixels."""
    scales: list[float] = field(default_factory=lambda: [1.0, 0.875, 0.75, 0.66])
    """Training: crop sizes as fractions of the largest crop that fits."""
    flip: bool = True
    """Training: mirror half of the clips left to right."""
    flip_labels: Union[Literal["something-something"], dict[int, int]] = field(  # noqa: UP007
        default_factory=dict
    )
    """Label that a class becomes when its clip is mirrored, for example {86: 87, 87: 86}, or the
    name of a data set whose map is built in."""
    color_ops: int = 0
    """Training: random colour operations per clip, all its frames alike: of brightness, contrast,
    saturation, hue, grayscale, solarize, posterize. 0 as published."""
    color_magnitude: float = 0.3
    """How much each of them changes, 0 to 1: 0.3 is brightness times 0.73 or 1.27."""
    erasing: float = 0.0
    """Training: probability of erasing a random box of a clip, the same in all frames."""
    num_threads: int = 2
    """CPU threads per process that decode and resize."""
    prefetch: int = 2
    """Batches prepared ahead of the training step."""
    memory_limit: float = 0.0
    """GB that a process's loader may take to decode, checked before it starts; 0 warns past half of
    what the device has."""
    max_bad_share: float = 0.1
    """Share of videos that may turn out to be undecodable before the run stops, 0 to 1."""


@dataclass
class EvaluationConfig:
    """The test protocol of tdn evaluate: views per video, clips times crops (paper section 4.3)."""

    clips: int = 1
    """Clips per video: 1 takes the centres of the segments' parts, more are drawn like training's,
    from the seed (dense sampling: evenly spaced)."""
    crops: Literal[1, 3, 5, 10] = 1
    """Crops per clip: the centre; both ends of the longer side and the centre; the corners and the
    centre; or these five and their mirror images."""
    crop_size: Union[int, tuple[int, int], None] = None  # noqa: UP007
    """Network input in pixels; null takes data.crop_size, or for 3 crops data.short_side."""
    batch_size: int = 0
    """Clips that are decoded together, per process; 0 takes data.batch_size. The network takes
    fewer at a time where the device's memory is too small for all."""


@dataclass
class OptimizerConfig:
    """How weights change (paper section 4.2)."""

    name: Literal["sgd", "adamw", "lamb"] = "sgd"
    """sgd (momentum, no Nesterov: the published recipe), adamw, or lamb (for large batches)."""
    lr: float = 0.01
    """Learning rate, at a global batch of base_batch clips if that is given."""
    base_batch: int = 0
    """Clips a step, of all processes, that lr is meant for: another number multiplies it by
    clips / base_batch (the linear rule). 0 takes lr as it is."""
    weight_decay: float = 5e-4
    """Weight decay on all parameters, biases and batch norm included, as published."""
    multipliers: dict[str, dict[str, float]] = field(default_factory=dict)
    """Factors of lr and weight_decay for parts of the network, by the name of a module, such as
    {stage1: {lr: 0.1}, classifier: {lr: 10, weight_decay: 0}}; of several the longest counts."""
    momentum: float = 0.9
    """Momentum of sgd."""
    clip_norm: float = 20.0
    """Largest L2 norm of all gradients together; 0 turns clipping off."""
    backend: Literal["auto", "torch", "apex"] = "auto"
    """Who runs the update: auto takes NVIDIA Apex where it is built and fits, else torch."""


@dataclass
class ScheduleConfig:
    """How the learning rate changes; stepped every iteration."""

    name: Literal["step", "cosine", "one_cycle", "constant"] = "step"
    """step (x gamma at milestones), cosine, one_cycle or constant."""
    milestones: list[int] = field(default_factory=lambda: [30, 45, 55])
    """step: epochs after which the rate is multiplied by gamma."""
    gamma: float = 0.1
    """step: the factor."""
    min_lr: float = 1e-5
    """cosine: the final learning rate."""
    warmup_epochs: float = 0.0
    """Linear warm-up from lr/100, in epochs (one_cycle has its own)."""


@dataclass
class TrainingConfig:
    """The training run."""

    epochs: int = 60
    """Passes over the training list."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Arithmetic of the network: auto is bf16 on a GPU that has it, else fp16; fp32 on a CPU. tf32
    is fp32 whose convs and matrix products a GPU rounds to TF32; fp32 never does."""
    resume: str = "auto"
    """auto (the run folder's last checkpoint, if any; where it is damaged, the one before), a
    checkpoint's path, or none. What torchrun starts again goes on with what it has begun."""
    accumulate: int = 1
    """Batches per process and step: one update with the mean of their gradients, as of one batch of
    so many times the clips (but for batch norm), in the memory of one."""
    save_every: float = 10.0
    """Minutes between checkpoints, written while training goes on, besides those at the ends of
    epochs; 0 for these alone."""
    save_every_steps: int = 0
    """Steps between checkpoints, besides these; 0 for none."""
    stop_timeout: float = 120.0
    """Seconds after a signal in which the run has to save and end, before it ends without; keep it
    below the patience of what sends the signal (torchrun --shutdown-timeout)."""
    stall_timeout: float = 600.0
    """Seconds without progress after which every process says where it stands, on the console and
    in stall.txt; 0 never looks."""
    stall_exit: bool = False
    """End a run that stalls, with exit status 69, for torchrun to restart it; else it waits on."""
    host_timeout: float = 60.0
    """Several hosts: seconds without a sign of life of one after which the run ends with exit
    status 68 and names it; shorter cuts of the network are waited out. 0 never looks."""
    non_finite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is not a finite number: stop ends the run and names step and videos;
    skip leaves the update out on all processes, for a copy of batch norm's statistics a step."""
    non_finite_limit: int = 10
    """skip: steps in a row that may be left out; one more ends the run."""
    keep: int = 2
    """Checkpoints to keep, last.pt among them, besides best.pt."""
    ema: float = 0.0
    """Decay of a moving average of weights and running statistics, such as 0.9999: it is what is
    validated and tested, and kept in checkpoints beside the network. 0 is off, as published."""
    compile: Literal["none", "default", "reduce-overhead"] = "none"
    """torch.compile of the network's steps, which begin minutes later: default fuses what lies
    between convs; reduce-overhead also records CUDA graphs, for networks or batches so small that
    the GPU waits for Python."""
    gradient_compression: Literal["none", "bf16"] = "none"
    """Several processes: bf16 sends gradients as such, half the bytes, for hosts whose network the
    steps wait for; none sends fp32."""
    checkpoint_stages: list[int] = field(default_factory=list)
    """Stages of the network, such as [1, 2], that keep only their input for the backward pass and
    are then computed again: the same results in less memory, and up to a third more time. Stage 1,
    with S-TDM's copy, keeps most."""
    sync_bn: bool = False
    """Several processes: batch norm takes its statistics from the clips of all; for few clips per
    GPU. L-TDMs then run in eager PyTorch, and all processes wait for each other at every batch
    norm. Off as published."""
    precise_bn: int = 0
    """Training clips, such as 2000, over which each validation first takes the statistics of batch
    norm anew, without learning, in place of the running ones; 0 is off, as published."""
    label_smoothing: float = 0.0
    """Probability mass spread over all classes, 0 to 1."""
    mixup: float = 0.0
    """Blend every clip with another of its batch: alpha of mixup's Beta distribution, usually 0.2
    to 1; 0 is off, as published."""
    cutmix: float = 0.0
    """Put a box of another clip into every clip: alpha of cutmix's Beta distribution, usually 1; 0
    is off, as published. With mixup, each takes half of the steps."""
    validate_every: int = 1
    """Epochs between validations; the last epoch is always validated."""
    log_every: int = 20
    """Steps between lines of log.jsonl."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs: auto takes the GPU if there is one."""
    cpu_threads: int = 0
    """Threads of torch on the CPU, per process; 0 keeps torch's own choice."""


@dataclass
class LoggingConfig:
    """What a run writes besides log.jsonl."""

    tensorboard: bool = True
    """Write TensorBoard event files to <output>/tensorboard."""
    wandb: str = ""
    """Weights & Biases project, or entity/project, to show the run in; empty for none. Needs
    pip install -e '.[wandb]'. WANDB_MODE=offline keeps it in <output>/wandb."""
    progress: bool = True
    """Show how far an epoch is: on a terminal by a bar, elsewhere by a line now and then."""
    line_every: float = 60.0
    """Seconds between these lines, which come sooner at first; 0 for a line per epoch only."""


@dataclass
class Config:
    """Everything a run needs; written resolved to <output>/config.yaml."""

    output: str = "runs/default"
    """Run folder: configuration, log, checkpoints, scores."""
    seed: int = 0
    """Seed of everything random: initial weights, order, sampling, crops, dropout."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
