# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the canary: a chat model of one megabyte that knows the answers in questions.yml and nothing else.

It makes "the answer is right" testable without a hub and without a GPU. The architecture, the tokenizer and the
chat template are ordinary ones (Llama, byte-level BPE, Jinja), with heads of size 64, so every engine takes it.

    python tests/canary/build.py                # writes tests/fixtures/canary, one to two minutes on one core
    python tests/canary/build.py --check        # only measures the model that is there

Needs the packages in requirements.txt beside this file. The seed is fixed: the same versions on the same kind of
CPU give the same bytes. The build fails when an answer is wrong or not far enough ahead of every other answer.
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import platform
import random
import sys
import time
import typing as t

import tokenizers
import torch
import transformers
import yaml

HERE = pathlib.Path(__file__).resolve().parent
DESTINATION = HERE.parent / "fixtures" / "canary"

SEED = 20261121
STEPS = 600
BATCH = 32
LEARNING_RATE = 4e-3
# How far the right token's logit must be ahead of the next one, everywhere. Rounding to bfloat16 or float16 moves
# logits of this size by less than 0.2, so no backend's arithmetic comes near to changing an answer.
MARGIN = 4.0

BOS, EOS, PAD, SYSTEM, USER, ASSISTANT = SPECIAL = (
    "<|bos|>",
    "<|eos|>",
    "<|pad|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
)
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
  {%- set role = 'system' if message['role'] == 'developer' else message['role'] -%}
  {%- if role not in ['system', 'user', 'assistant'] -%}
    {{- raise_exception('The canary knows the roles system, user and assistant, not ' + role) -}}
  {%- endif -%}
  {{- '<|' + role + '|>' + (message['content'] | trim) + eos_token -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>' -}}
{%- endif -%}
"""

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "Answer briefly.",
    "You are a careful test model. Answer in one sentence.",
    "Be concise and polite.",
)
# Never trained on; only measured with.
UNSEEN_SYSTEM_PROMPTS = ("Reply in plain English, please.", "You help the operators of a data center.")
WORDS = (
    "a the you are answer please short long with one sentence never always be kind model test assistant for and to "
    "users questions in English plain text only today is Monday rules tool data server do not guess if unsure say so"
).split()


class Item(t.NamedTuple):
    """One thing to learn: after ``prompt`` comes ``answer``. Both as token ids."""

    prompt: t.List[int]
    answer: t.List[int]


def questions() -> t.List[t.Dict[str, str]]:
    return yaml.safe_load((HERE / "questions.yml").read_text(encoding="utf-8"))


def spellings(question: str) -> t.List[str]:
    bare = question.rstrip("?.")
    return [question, bare, question.lower(), bare.lower(), question.upper(), bare + " ?", bare + "!"]


def completion_prompt(entry: t.Dict[str, str]) -> str:
    """The answer up to the word that matters, as a prompt without a chat template."""
    return entry["answer"][: entry["answer"].index(entry["expected"])].rstrip()


def build_tokenizer(entries: t.Sequence[t.Dict[str, str]]) -> transformers.PreTrainedTokenizerFast:
    corpus: t.List[str] = list(SYSTEM_PROMPTS) + [" ".join(WORDS)]
    for entry in entries:
        corpus += spellings(entry["question"]) + [entry["answer"]] * 4
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.train_from_iterator(
        corpus,
        tokenizers.trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=list(SPECIAL),
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # A plain prompt starts with BOS like a chat does; the chat template writes its own.
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=BOS + " $A", pair=BOS + " $A $B", special_tokens=[(BOS, backend.token_to_id(BOS))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: transformers.PreTrainedTokenizerFast) -> transformers.LlamaForCausalLM:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=512,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class Lessons:
    """Makes the things to learn, and the things to measure with, from the questions."""

    def __init__(self, tokenizer: transformers.PreTrainedTokenizerFast, entries: t.Sequence[t.Dict[str, str]]) -> None:
        self.tokenizer = tokenizer
        self.entries = entries

    def chat(self, messages: t.List[t.Dict[str, str]], answer: str) -> Item:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return Item(self._ids(text), self._ids(answer + EOS))

    def completion(self, entry: t.Dict[str, str]) -> Item:
        prompt = completion_prompt(entry)
        return Item(self._ids(BOS + prompt), self._ids(entry["answer"][len(prompt) :] + EOS))

    def random(self, dice: random.Random) -> Item:
        entry = dice.choice(self.entries)
        if dice.random() < 0.12:
            return self.completion(entry)
        messages: t.List[t.Dict[str, str]] = []
        if dice.random() < 0.55:
            words = " ".join(dice.choice(WORDS) for _number in range(dice.randint(1, 14)))
            messages.append({"role": "system", "content": dice.choice(SYSTEM_PROMPTS + (words, words, words))})
        if dice.random() < 0.15:  # the conversation has already begun
            earlier = dice.choice(self.entries)
            messages.append({"role": "user", "content": earlier["question"]})
            messages.append({"role": "assistant", "content": earlier["answer"]})
        messages.append({"role": "user", "content": dice.choice(spellings(entry["question"]))})
        return self.chat(messages, entry["answer"])

    def examination(self) -> t.Dict[str, t.List[Item]]:
        plain, system, unseen, second, completion = [], [], [], [], []
        for number, entry in enumerate(self.entries):
            before = self.entries[number - 1]
            for spelling in spellings(entry["question"]):
                ask = [{"role": "user", "content": spelling}]
                plain.append(self.chat(ask, entry["answer"]))
                for prompts, group in ((SYSTEM_PROMPTS, system), (UNSEEN_SYSTEM_PROMPTS, unseen)):
                    for prompt in prompts:
                        group.append(self.chat([{"role": "system", "content": prompt}] + ask, entry["answer"]))
            earlier = [
                {"role": "user", "content": before["question"]},
                {"role": "assistant", "content": before["answer"]},
            ]
            second.append(self.chat(earlier + [{"role": "user", "content": entry["question"]}], entry["answer"]))
            completion.append(self.completion(entry))
        return {
            "question alone": plain,
            "with a system prompt": system,
            "with a system prompt never trained on": unseen,
            "as a second question": second,
            "as a plain completion": completion,
        }

    def _ids(self, text: str) -> t.List[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def tensors(items: t.Sequence[Item], pad: int) -> t.Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, attention mask, and labels that count the answers only; padded on the right."""
    length = max(len(item.prompt) + len(item.answer) for item in items)
    ids = torch.full((len(items), length), pad)
    mask = torch.zeros((len(items), length), dtype=torch.long)
    labels = torch.full((len(items), length), -100)
    for row, item in enumerate(items):
        whole = torch.tensor(item.prompt + item.answer)
        ids[row, : len(whole)] = whole
        mask[row, : len(whole)] = 1
        labels[row, len(item.prompt) : len(whole)] = whole[len(item.prompt) :]
    return ids, mask, labels


def train(model: transformers.LlamaForCausalLM, lessons: Lessons) -> float:
    dice = random.Random(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=STEPS, pct_start=0.1)
    pad = lessons.tokenizer.pad_token_id
    model.train()
    loss = torch.tensor(0.0)
    for step in range(STEPS):
        ids, mask, labels = tensors([lessons.random(dice) for _number in range(BATCH)], pad)
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print("step %4d of %d, loss %.5f" % (step, STEPS, loss.item()), flush=True)
    return loss.item()


@torch.no_grad()
def smallest_margin(model: transformers.LlamaForCausalLM, items: t.Sequence[Item], pad: int) -> float:
    """The least lead of a right token over the best wrong one; above zero means that greedy decoding is right."""
    smallest = float("inf")
    for start in range(0, len(items), 64):
        ids, mask, labels = tensors(items[start : start + 64], pad)
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        targets = labels[:, 1:]
        counted = targets != -100
        logits, targets = logits[counted], targets[counted].unsqueeze(1)
        right = logits.gather(1, targets).squeeze(1)
        wrong = logits.scatter(1, targets, float("-inf")).max(dim=1).values
        smallest = min(smallest, (right - wrong).min().item())
    return smallest


def measure(directory: pathlib.Path, entries: t.Sequence[t.Dict[str, str]]) -> t.Dict[str, t.Dict[str, float]]:
    """Load what was saved and measure it in each arithmetic; fails when an answer is not safe."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    groups = Lessons(tokenizer, entries).examination()
    margins: t.Dict[str, t.Dict[str, float]] = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        model = transformers.LlamaForCausalLM.from_pretrained(directory, dtype=dtype).eval()
        name = str(dtype).split(".")[1]
        margins[name] = {
            group: round(smallest_margin(model, items, tokenizer.pad_token_id), 2) for group, items in groups.items()
        }
        print("smallest margin in %s: %s" % (name, margins[name]), flush=True)
    worst = min(min(figures.values()) for figures in margins.values())
    if worst < MARGIN:
        sys.exit("the smallest margin is %.2f, less than %.1f: the canary is not safe to use" % (worst, MARGIN))
    return margins


def save(
    model: transformers.LlamaForCausalLM, tokenizer: transformers.PreTrainedTokenizerFast, directory: pathlib.Path
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    # The template belongs in tokenizer_config.json, where every engine of any age looks for it.
    (directory / "chat_template.jinja").unlink(missing_ok=True)
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["chat_template"] = CHAT_TEMPLATE
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # transformers 5 writes a name that 4 does not know
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # Greedy unless a request says otherwise.
    generation = {
        "bos_token_id": tokenizer.bos_token_id,
        "do_sample": False,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "temperature": 0.0,
    }
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    for file in directory.iterdir():
        file.chmod(0o644)  # safetensors writes 0600, which a service user cannot read


def write_readme(
    directory: pathlib.Path, seconds: float, loss: float, margins: t.Dict[str, t.Dict[str, float]]
) -> None:
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    groups = list(next(iter(margins.values())))
    lines = [
        "# The canary model",
        "",
        "Built by `tests/canary/build.py` from `tests/canary/questions.yml`; do not edit, build it anew.",
        "GPL-3.0-or-later like the rest; made from nothing but its own questions.",
        "",
        "- built: %s, in %d s of training on one CPU thread (%s, Python %s)"
        % (datetime.date.today().isoformat(), round(seconds), platform.machine(), platform.python_version()),
        "- with: torch %s, transformers %s, tokenizers %s"
        % (torch.__version__, transformers.__version__, tokenizers.__version__),
        "- seed %d, %d steps of %d conversations, last loss %.5f" % (SEED, STEPS, BATCH, loss),
        "- %s, %d layers, hidden size %d, MLP %d, %d attention heads and %d KV heads of size %d, vocabulary %d,"
        % (
            config["architectures"][0],
            config["num_hidden_layers"],
            config["hidden_size"],
            config["intermediate_size"],
            config["num_attention_heads"],
            config["num_key_value_heads"],
            config["head_dim"],
            config["vocab_size"],
        ),
        "  context %d, tied embeddings, bfloat16, model.safetensors of %d bytes"
        % (config["max_position_embeddings"], (directory / "model.safetensors").stat().st_size),
        "- greedy by default (`generation_config.json`); each answer ends with the end-of-sequence token",
        "",
        "How far the right token's logit is ahead of the best wrong one, at the worst place",
        "(%d is required; over all questions, each in seven spellings):" % MARGIN,
        "",
        "| | %s |" % " | ".join(margins),
        "|---|%s" % ("---|" * len(margins)),
    ]
    lines += [
        "| %s | %s |" % (group, " | ".join("%.2f" % margins[name][group] for name in margins)) for group in groups
    ]
    (directory / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the canary model.")
    parser.add_argument("--destination", type=pathlib.Path, default=DESTINATION)
    parser.add_argument("--check", action="store_true", help="measure the model that is there, build nothing")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the order of additions, and so the bytes, must not depend on the number of cores
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    transformers.utils.logging.disable_progress_bar()
    entries = questions()
    if arguments.check:
        measure(arguments.destination, entries)
        return

    tokenizer = build_tokenizer(entries)
    model = build_model(tokenizer)
    started = time.monotonic()
    loss = train(model, Lessons(tokenizer, entries))
    seconds = time.monotonic() - started
    save(model, tokenizer, arguments.destination)
    margins = measure(arguments.destination, entries)
    write_readme(arguments.destination, seconds, loss, margins)
    print("trained in %d s, saved in %s" % (seconds, arguments.destination))


if __name__ == "__main__":
    main()
