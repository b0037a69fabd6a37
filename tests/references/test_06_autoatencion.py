"""`SelfAttention` y el modelo de la lección: igual que PyTorch, y sin los defectos conocidos."""

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autograder.notebooks import load

lesson = load("06_autoatencion")
FORMS = ["[B,S]", "[B,1,S]", "[B,1,1,S]", "[B,S,S]", "[B,1,S,S]"]
SHAPES = {"B": st.integers(1, 4), "S": st.integers(1, 9), "h": st.sampled_from([1, 2, 3, 4])}
few_examples = settings(max_examples=60, deadline=None)


def oracle_of(layer):
    """`nn.MultiheadAttention` con los parámetros de `SelfAttention` o de la solución de 1a."""
    state = layer.state_dict()
    names = ("query", "key", "value")
    if "qkv_proj.weight" in state:
        fused = {kind: state[f"qkv_proj.{kind}"] for kind in ("weight", "bias")}
        out = "out_proj"
    else:
        fused = {
            kind: torch.cat([state[f"{n}.{kind}"] for n in names]) for kind in ("weight", "bias")
        }
        out = "fc_out"
    size = fused["weight"].size(1)
    oracle = nn.MultiheadAttention(size, layer.num_heads, batch_first=True).eval()
    oracle.load_state_dict(
        {
            "in_proj_weight": fused["weight"],
            "in_proj_bias": fused["bias"],
            "out_proj.weight": state[f"{out}.weight"],
            "out_proj.bias": state[f"{out}.bias"],
        }
    )
    return oracle.double()


def random_layer(cls, *args, **kwargs):
    layer = cls(*args, dropout=0.0, **kwargs).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer.double()


def random_mask(B, S, form, seed, empty_rows=False):
    """Una máscara al azar de una forma, y la misma como `[B, S, S]`."""
    generator = torch.Generator().manual_seed(seed)
    per_query = form in ("[B,S,S]", "[B,1,S,S]")
    mask = torch.rand(B, S if per_query else 1, S, generator=generator) < 0.6
    if not empty_rows:
        mask[..., 0] = True
    full = mask.expand(B, S, S)
    shape = {
        "[B,S]": (B, S),
        "[B,1,S]": (B, 1, S),
        "[B,1,1,S]": (B, 1, 1, S),
        "[B,S,S]": (B, S, S),
        "[B,1,S,S]": (B, 1, S, S),
    }[form]
    return mask.reshape(shape), full


# --- Igual que PyTorch ----------------------------------------------------------------------------


@few_examples
@given(**SHAPES, form=st.sampled_from([None, *FORMS]), seed=st.integers(0, 10_000))
def test_self_attention_equals_torch(B, S, h, form, seed):
    torch.manual_seed(seed)
    E = 4 * h
    layer = random_layer(lesson.SelfAttention, E, E, num_heads=h)
    x = torch.randn(B, S, E, dtype=torch.double)
    mask, full = (None, None) if form is None else random_mask(B, S, form, seed)
    blocked = None if full is None else ~full.repeat_interleave(h, dim=0)
    z = layer.layer_norm(x)
    expected, expected_weights = oracle_of(layer)(
        z, z, z, attn_mask=blocked, average_attn_weights=False
    )
    out, weights = layer(x, mask)
    torch.testing.assert_close(out, x + expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=0)
    fast, none = layer(x, mask, need_weights=False)
    assert none is None
    torch.testing.assert_close(fast, out, atol=1e-6, rtol=0)


@few_examples
@given(**SHAPES, causal=st.booleans(), padded=st.booleans(), seed=st.integers(0, 10_000))
def test_exercise_solution_equals_torch(B, S, h, causal, padded, seed):
    torch.manual_seed(seed)
    E = 4 * h
    layer = random_layer(lesson.MultiHeadSelfAttention, E, h)
    x = torch.randn(B, S, E, dtype=torch.double)
    lengths = torch.randint(1, S + 1, (B,))
    mask = torch.arange(S) < lengths[:, None] if padded else None
    expected, expected_weights = oracle_of(layer)(
        x,
        x,
        x,
        key_padding_mask=None if mask is None else ~mask,
        attn_mask=torch.ones(S, S, dtype=torch.bool).triu(1) if causal else None,
        average_attn_weights=False,
    )
    out, weights = layer(x, mask=mask, causal=causal)
    torch.testing.assert_close(out, layer.norm(x + expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=0)


@few_examples
@given(**SHAPES, d=st.integers(1, 5), form=st.sampled_from(FORMS), seed=st.integers(0, 10_000))
def test_any_hidden_size_equals_a_loop(B, S, h, d, form, seed):
    """Con `hidden_dim` distinto de `embedding_dim`, contra la fórmula escrita con bucles."""
    torch.manual_seed(seed)
    layer = random_layer(lesson.SelfAttention, 5, h * d, num_heads=h)
    x = torch.randn(B, S, 5, dtype=torch.double)
    mask, full = random_mask(B, S, form, seed, empty_rows=True)
    out, weights = layer(x, mask)
    z = layer.layer_norm(x)
    q, k, v = layer.query(z), layer.key(z), layer.value(z)
    for b in range(B):
        for i in range(S):
            context = torch.zeros(h * d, dtype=torch.double)
            for head in range(h):
                part = slice(head * d, (head + 1) * d)
                allowed = [j for j in range(S) if full[b, i, j]]
                scores = {j: (q[b, i, part] @ k[b, j, part]).item() for j in allowed}
                exps = {j: math.exp(score / math.sqrt(d)) for j, score in scores.items()}
                for j in allowed:
                    alpha = exps[j] / sum(exps.values())
                    assert weights[b, head, i, j].item() == pytest.approx(alpha, abs=1e-9)
                    context[part] += alpha * v[b, j, part]
                assert weights[b, head, i, ~full[b, i]].abs().sum() == 0
            torch.testing.assert_close(out[b, i], x[b, i] + layer.fc_out(context))


# --- Los defectos de la implementación de partida, uno por prueba ---------------------------------


@pytest.mark.parametrize("need_weights", [True, False])
def test_fully_masked_rows_are_zero_and_finite_and_so_are_gradients(need_weights):
    layer = lesson.SelfAttention(16, 16, num_heads=4)
    x = torch.randn(2, 5, 16, requires_grad=True)
    mask = torch.tensor([[False] * 5, [True] * 5])
    out, weights = layer(x, mask, need_weights=need_weights)
    assert out.isfinite().all()
    if need_weights:
        assert weights[0].abs().sum() == 0
    out[1].sum().backward()  # la pérdida no usa la secuencia vacía
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    assert x.grad[0].abs().sum() == 0


@pytest.mark.parametrize("need_weights", [True, False])
def test_left_padding_with_causal_mask(need_weights):
    layer = lesson.SelfAttention(8, 8, num_heads=2).eval()
    x = torch.randn(1, 6, 8, requires_grad=True)
    mask = torch.tensor([0, 0, 1, 1, 1, 1]) * torch.ones(6, 6).tril()
    out, _ = layer(x, mask[None], need_weights=need_weights)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    alone, _ = layer(x[:, 2:], torch.ones(1, 4, 4).tril())
    torch.testing.assert_close(out[:, 2:], alone)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.float32])
def test_every_mask_form_and_type(form, dtype):
    layer = lesson.SelfAttention(8, 8, num_heads=2).eval()
    x = torch.randn(3, 5, 8)
    mask, full = random_mask(3, 5, form, seed=1, empty_rows=True)
    assert torch.equal(layer(x, mask.to(dtype))[0], layer(x, full)[0])


def test_batch_equal_to_heads_does_not_mask_by_head():
    """El caso silencioso: [B, 1, S] con B == h se difundía sobre las cabezas."""
    layer = lesson.SelfAttention(8, 8, num_heads=4).eval()
    x = torch.randn(4, 5, 8)
    mask = torch.arange(5) < torch.tensor([5, 4, 3, 2])[:, None]
    out, weights = layer(x, mask[:, None, :])
    assert torch.equal(out, layer(x, mask)[0])
    for row in range(4):
        assert weights[row, :, :, ~mask[row]].abs().sum() == 0


@pytest.mark.parametrize(
    "shape",
    [(5,), (5, 5), (1, 5), (3, 4), (4, 3, 5), (1, 5, 5), (3, 2, 5), (3, 4, 5, 5), (3, 5, 1)],
)
def test_other_mask_shapes_are_clear_errors(shape):
    layer = lesson.SelfAttention(8, 8, num_heads=4)
    with pytest.raises(ValueError, match="las formas válidas son"):
        layer(torch.randn(3, 5, 8), torch.ones(shape))


@pytest.mark.parametrize("value", [float("-inf"), -1e9, 2.0, 0.5])
def test_additive_masks_are_clear_errors(value):
    mask = torch.ones(2, 4)
    mask[0, 0] = value
    with pytest.raises(ValueError, match="distintos de 0 y 1"):
        lesson.SelfAttention(8, 8)(torch.randn(2, 4, 8), mask)


def test_returned_weights_are_from_before_dropout():
    layer = lesson.SelfAttention(8, 8, num_heads=2, dropout=0.5).train()
    _, weights = layer(torch.randn(4, 6, 8))
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 2, 6))


@pytest.mark.parametrize("need_weights", [True, False])
def test_dropout_acts_only_while_training(need_weights):
    layer = lesson.SelfAttention(8, 8, num_heads=2, dropout=0.5)
    x = torch.randn(2, 6, 8)
    outputs = [layer(x, need_weights=need_weights)[0] for _ in range(2)]
    assert not torch.equal(*outputs)
    layer.eval()
    outputs = [layer(x, need_weights=need_weights)[0] for _ in range(2)]
    assert torch.equal(*outputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("need_weights", [True, False])
def test_half_precision_with_masks(dtype, need_weights):
    layer = lesson.SelfAttention(16, 16, num_heads=2, dropout=0.0).to(dtype)
    x = torch.randn(2, 5, 16, dtype=dtype, requires_grad=True)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    out, _ = layer(x, mask, need_weights=need_weights)
    out.sum().backward()
    assert out.dtype == dtype
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    exact = layer.float()(x.detach().float(), mask)[0]
    torch.testing.assert_close(out.float(), exact, atol=0.05, rtol=0.05)


def test_padding_does_not_leak_and_gets_no_gradient():
    layer = lesson.SelfAttention(8, 8, num_heads=2).eval()
    mask = torch.arange(6) < torch.tensor([6, 3])[:, None]
    x = torch.randn(2, 6, 8)
    disturbed = torch.where(mask[..., None], x, torch.randn_like(x) * 100).requires_grad_()
    out = layer(disturbed, mask)[0]
    assert torch.equal(out[mask], layer(x, mask)[0][mask])
    out[mask].sum().backward()
    assert disturbed.grad[~mask].abs().sum() == 0


def test_permutation_equivariance():
    layer = lesson.SelfAttention(8, 8, num_heads=2).eval()
    x, order = torch.randn(2, 7, 8), torch.randperm(7)
    torch.testing.assert_close(layer(x[:, order])[0], layer(x)[0][:, order])


@pytest.mark.parametrize("num_heads", [0, 3, -2])
def test_invalid_heads(num_heads):
    with pytest.raises(ValueError, match="múltiplo"):
        lesson.SelfAttention(8, 8, num_heads=num_heads)


# --- Los telegramas -------------------------------------------------------------------------------


def agreement(word):
    for singular, plural, gender in lesson.NOUNS:
        if word in (singular, plural):
            return "noun", gender, word == plural
    for (gender, plural), ending in lesson.ENDINGS.items():
        if word in {stem + ending for stem in lesson.STEMS}:
            return "adjective", gender, bool(plural)
    raise AssertionError(word)


@pytest.mark.parametrize("novel", [False, True])
def test_telegrams_have_one_right_answer(novel):
    rng = random.Random(0)
    for _ in range(300):
        words, partners = lesson.random_telegram(rng, novel)
        kinds = [agreement(word) for word in words]
        assert len(set(kinds)) == len(words) in (4, 6, 8)
        for i, j in enumerate(partners):
            assert partners[j] == i
            assert kinds[i][0] != kinds[j][0]
            assert kinds[i][1:] == kinds[j][1:]


def pairs_in(ids, partners):
    return {
        frozenset((row[i], row[j]))
        for row, answer in zip(ids.tolist(), partners.tolist(), strict=True)
        for i, j in enumerate(answer)
        if j >= 0
    }


def lemma_pairs(ids, partners):
    """Las parejas de sustantivo y raíz del adjetivo, sin género ni número."""

    def lemma(word):
        for n, noun in enumerate(lesson.NOUNS):
            if word in noun[:2]:
                return n
        return next(stem for stem in lesson.STEMS if word.startswith(stem))

    return {
        frozenset(map(lemma, map(lesson.VOCAB.__getitem__, p))) for p in pairs_in(ids, partners)
    }


def test_novel_pairs_never_appear_in_training():
    train = lemma_pairs(*lesson.make_telegrams(6000, seed=1))
    novel = lemma_pairs(*lesson.make_telegrams(1500, seed=3, novel=True))
    assert len(novel) == 3 * len(lesson.NOUNS)
    assert not train & novel


def test_telegrams_are_deterministic():
    first, again, other = (lesson.make_telegrams(50, seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


# --- El experimento, con dos o tres semillas además de la del cuaderno ----------------------------


@pytest.fixture(scope="module")
def data():
    return [
        lesson.make_telegrams(*arguments) for arguments in ((6000, 1), (1500, 2), (1500, 3, True))
    ]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_attention_solves_the_task_and_its_map_is_the_known_one(data, seed):
    train, test, novel = data
    lesson.set_seed(seed)
    reader = lesson.TelegramReader()
    lesson.fit(
        reader, lesson.random_batches(*train), lesson.partner_loss, steps=600, lr=5e-3, label=""
    )
    right, looked = lesson.evaluate(reader, *test)
    assert min(right, looked) > 0.98
    assert min(lesson.evaluate(reader, *novel)) > 0.95


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("control", ["sin contexto", "uniforme", "sin posiciones"])
def test_without_attention_the_task_stays_near_chance(data, control, seed):
    train, test, _ = data
    lesson.set_seed(seed)
    reader = lesson.TelegramReader(use_positions=control != "sin posiciones")
    mask = torch.eye(8).expand(128, -1, -1) if control == "sin contexto" else None
    if control == "uniforme":
        lesson.silence_queries(reader)
    batches = lesson.random_batches(*train, mask)
    lesson.fit(reader, batches, lesson.partner_loss, steps=600, lr=5e-3, label="")
    assert lesson.evaluate(reader, *test, mask)[0] < 0.35


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("num_heads", [2, 4])
def test_several_heads_share_two_questions(data, num_heads, seed):
    train, test, _ = data
    lesson.set_seed(seed)
    reader = lesson.TelegramReader(num_heads=num_heads)
    lesson.fit(
        reader, lesson.random_batches(*train), lesson.both_losses, steps=1000, lr=4e-3, label=""
    )
    pairs, nexts, content, position = lesson.evaluate_both(reader, *test)
    assert min(pairs, nexts) > 0.98
    assert max(content) > 0.8
    assert max(position) > 0.8
