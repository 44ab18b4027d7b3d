# Copyright: (c) 2026, gpufleet.llm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a store goes: tables."""

from __future__ import annotations

import pytest
from ansible_collections.gpufleet.llm.plugins.module_utils.deployment.store_prune import Look, Revision, Unfinished, Wish, decide
from ansible_collections.gpufleet.llm.plugins.module_utils.errors import GpufleetError

A, B, C, D = ("%s" % letter * 40 for letter in "abcd")
MODEL = "huggingface/org/one"


def revision(name, date=0.0, model=MODEL, **more):
    more.setdefault("files", {(1, ord(name[0])): 100})
    return Revision(model=model, name=name, path="/s/%s/%s" % (model, name), date=date, **more)


def look(*revisions, **more):
    links = {}
    for one in revisions:
        links.setdefault(one.model, {}).update({link: one.name for link in one.links})
    return Look(path="/s", revisions=revisions, links=links, **more)


def names(plan):
    return [one["path"].rpartition("/")[2] for one in plan.remove]


LINKED = revision(C, 3, links=("main",))
OLD, OLDER = revision(B, 2), revision(A, 1)
SHARED = {(1, 9): 50}


@pytest.mark.parametrize(
    "case, found, wish, gone",
    [
        ("nothing there", look(), {}, []),
        ("linked stays", look(LINKED), {"keep": 0}, []),
        ("the newest unused stays", look(LINKED, OLD, OLDER), {}, [A]),
        ("keep two", look(LINKED, OLD, OLDER), {"keep": 2}, []),
        ("keep none", look(LINKED, OLD, OLDER), {"keep": 0}, [B, A]),
        ("keep counts by model", look(OLD, revision(A, 1, "huggingface/org/two")), {}, []),
        ("in use stays", look(LINKED, revision(B, 2, uses=("a unit",)), OLDER), {"keep": 0}, [A]),
        ("in use does not count as kept", look(revision(B, 2, uses=("a unit",)), OLDER), {}, []),
        ("locked stays", look(LINKED, OLD, holders={MODEL: "7"}), {"keep": 0}, []),
        ("without a record it is not ours", look(LINKED, revision(B, 2, recorded=False)), {"keep": 0}, []),
        ("a quota that fits", look(LINKED, OLD, OLDER), {"keep": 2, "quota": 300}, []),
        ("a quota takes the oldest", look(LINKED, OLD, OLDER), {"keep": 2, "quota": 250}, [A]),
        ("a quota takes all that is unused", look(LINKED, OLD, OLDER), {"keep": 2, "quota": 100}, [A, B]),
        ("a quota counts others", look(LINKED, OLD, others={"/s/ollama": {(2, 1): 10}}), {"quota": 200}, [B]),
        ("a quota, shared", look(revision(B, 2, files=SHARED), revision(A, 1, files=SHARED)), {"keep": 2, "quota": 0}, [A, B]),
        ("by request, linked", look(LINKED, OLD), {"models": ("org/one",)}, [C, B]),
        ("by request, one of it", look(LINKED, OLD), {"models": ("%s@%s" % (MODEL, C),)}, [C]),
        ("by request, a branch", look(LINKED, OLD), {"models": ("org/one@main",)}, [C]),
        ("by request, not there", look(LINKED), {"models": ("org/none", "org/one@%s" % D)}, []),
        ("by request, nothing else", look(OLD, OLDER), {"models": ("org/none",), "keep": 0}, []),
        ("by request, a branch of two", look(revision(C, links=("main", "v1"))), {"models": ("org/one@main",)}, []),
    ],
)
def test_what_goes(case, found, wish, gone):
    assert names(decide(found, Wish(**{"models": None, **wish}))) == gone, case


def test_links_go_with_what_is_asked_for():
    assert decide(look(LINKED, OLD), Wish(models=("org/one",))).unlink == [(MODEL, "main")]
    two = look(revision(C, links=("main", "v1")))
    assert decide(two, Wish(models=("org/one@v1",))).unlink == [(MODEL, "v1")]
    assert decide(two, Wish(models=("org/one@%s" % C,))).unlink == [(MODEL, "main"), (MODEL, "v1")]


def test_bytes_of_shared_files_come_free_with_the_last():
    older = revision(A, 1, files={(1, 1): 70, **SHARED})
    newer = revision(B, 2, files={(1, 2): 20, **SHARED})
    plan = decide(look(LINKED, older, newer), Wish(keep=0))
    assert [one["bytes"] for one in plan.remove] == [20, 120]
    assert (plan.freed_bytes, plan.store_bytes) == (140, 100)


@pytest.mark.parametrize(
    "part, holders, wish, goes",
    [
        (Unfinished(MODEL, "/s/p", 8 * 86400), {}, {}, True),
        (Unfinished(MODEL, "/s/p", 6 * 86400), {}, {}, False),
        (Unfinished(MODEL, "/s/p", 6 * 86400), {}, {"unfinished_s": 0}, True),
        (Unfinished(MODEL, "/s/p", 8 * 86400), {MODEL: "7"}, {}, False),
        (Unfinished(MODEL, "/s/p", 8 * 86400), {}, {"models": ()}, False),
        (Unfinished(MODEL, "/s/p", 0, removed=True), {}, {}, True),
    ],
)
def test_unfinished(part, holders, wish, goes):
    assert bool(decide(look(unfinished=(part,), holders=holders), Wish(**wish)).remove) is goes


def test_interrupted_removal():
    left = revision(B, removed=True)
    assert names(decide(look(LINKED, left), Wish())) == [B]
    used = revision(B, removed=True, uses=("a unit",))
    assert decide(look(LINKED, used), Wish()).restore == [used]
    torn = revision(B, removed=True, uses=("a unit",), recorded=False)
    assert (names(decide(look(LINKED, torn), Wish())), decide(look(LINKED, torn), Wish()).restore) == ([B], [])
    again = revision(B, 5, uses=("a unit",))  # it was downloaded anew: what is left over is of no use
    plan = decide(look(LINKED, again, used), Wish())
    assert (names(plan), plan.restore) == ([B], [])


@pytest.mark.parametrize(
    "found, wish, words",
    [
        (look(LINKED, revision(B, uses=("unit x",)), others={"/s/ollama": {(2, 1): 900}}), Wish(quota=500),
         ["holds 1100 bytes", "quota=500", "600 bytes too much", "Nothing was removed", "/s/ollama (900 bytes, not a model",
          "linked as main", "in use: unit x"]),
        (look(revision(B, uses=("unit x",))), Wish(models=("org/one",)), ["In use", B, "unit x"]),
        (look(LINKED, holders={MODEL: "7"}), Wish(models=("org/one",)), ["process 7 works on it"]),
        (look(LINKED, model_uses={MODEL: ("unit x",)}), Wish(models=("org/one",)), ["In use", C, "unit x"]),
        (look(revision(C, links=("main", "v1")), link_uses={MODEL: {"main": ("unit x",)}}), Wish(models=("org/one@main",)),
         ["In use", "%s/main (unit x)" % MODEL]),
        (look(revision(A, model="huggingface/org/one"), revision(B, model="local/org/one")), Wish(models=("org/one",)),
         ["org/one is all of huggingface/org/one, local/org/one"]),
        (look(OLD, blind=("process 1",)), Wish(keep=0), ["process 1 cannot be looked at", "become=true", "Nothing was removed"]),
    ],
)  # fmt: skip
def test_refusals(found, wish, words):
    with pytest.raises(GpufleetError) as error:
        decide(found, wish)
    for word in words:
        assert word in str(error.value)


def test_blind_and_nothing_to_do():
    assert not decide(look(LINKED, blind=("process 1",)), Wish()).remove
