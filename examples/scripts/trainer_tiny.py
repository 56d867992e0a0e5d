"""A tiny BERT that tells which of two words is more frequent in a sentence; the loop is transformers.Trainer."""

import argparse
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

VOCABULARY, LENGTH, FIRST, SECOND = 30, 16, 5, 6


class Sentences(Dataset):
    """Random words; the label says which of two words is the more frequent one."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        frequent = torch.randint(2, (count, 1), generator=generator)
        words = torch.randint(SECOND + 1, VOCABULARY, (count, LENGTH), generator=generator)
        draws = torch.rand(count, LENGTH, generator=generator)
        words[draws < 0.4] = (FIRST + frequent).expand(-1, LENGTH)[draws < 0.4]
        words[draws > 0.9] = (SECOND - frequent).expand(-1, LENGTH)[draws > 0.9]
        self.words = words
        self.labels = ((words == SECOND).sum(1) > (words == FIRST).sum(1)).long()

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        return {"input_ids": self.words[index], "labels": self.labels[index]}


class LossHistory(TrainerCallback):
    def __init__(self):
        self.losses = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.losses.append(logs["loss"])
            if state.global_step % 50 == 0:
                print(f"step {state.global_step}: loss {logs['loss']:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=340)
    parser.add_argument("--out", type=Path, default=Path("."))
    args = parser.parse_args()

    set_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        num_labels=2,
    )
    training = TrainingArguments(
        output_dir=str(args.out),
        max_steps=args.steps,
        per_device_train_batch_size=16,
        learning_rate=2e-3,
        warmup_steps=20,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    history = LossHistory()
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=training,
        train_dataset=Sentences(2048, seed=1),
        callbacks=[history],
    )
    trainer.train()

    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "losses.txt").write_text("".join(f"{loss!r}\n" for loss in history.losses))


if __name__ == "__main__":
    main()
