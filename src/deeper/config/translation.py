"""Words of lightning-hydra-template, and what stands for them here. Imports no torch."""

WORDS = {
    "callbacks=default": "every run has those of train.yaml; callbacks=early_stopping adds one",
    "callbacks=none": "~callbacks.progress removes one",
    "ckpt_path": "resume=RUN continues a run, and src/eval.py run=RUN evaluates it",
    "data.data_dir": "data.root=DIR",
    "data.train_val_test_split": "data.holdout=0.05 is a fraction of train",
    "datamodule": "data=folder data.root=DIR",
    "debug=default": "debug=fast runs every part once",
    "debug=fdr": "debug=fast runs every part once",
    "experiment=example": "recipe=paper is a whole training, experiment=no_aux one change of it",
    "extras": "--cfg job --resolve shows the config",
    "hparams_search": "-m sweep=optuna searches, and -m sweep=lr tries a list",
    "logger=many_loggers": "logger=[csv,tensorboard,wandb]",
    "model.compile": "compile=true",
    "model.net": "model.width=0.5 and its like are keys of model itself",
    "model.optimizer": "lr=0.1 is the rate, optimizer=adamw the optimizer",
    "model.scheduler": "scheduler=cosine",
    "optimized_metric": "objective=val/top1 direction=maximize",
    "tags": "name=NAME names the run; recipe, experiments and data are W&B's tags",
    "train": "src/eval.py run=RUN evaluates without training",
    "trainer.precision": "precision=bf16",
    "trainer=ddp_sim": "trainer=ddp_cpu",
    "trainer=default": "trainer=auto",
    "trainer=mps": "trainer=cpu, as Apple's GPUs are not used",
}
"""A key, for itself and all below it, or an option → what to pass, or what has its place."""


def translation(word: str) -> str:
    """`; here trainer=ddp_cpu` for `trainer=ddp_sim`; empty for a word that is not known."""
    parts = word.split(".")
    heads = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((f"; here {WORDS[head]}" for head in heads if head in WORDS), "")
