"""El traductor de la lección: el artículo, y sin los defectos conocidos."""

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from autograder.notebooks import load

lesson = load("01_atencion_global")
few_examples = settings(max_examples=40, deadline=None)
SIZES = {"B": st.integers(1, 4), "S": st.integers(1, 6)}
H = 6


def random_case(B, S, seed, minimum=1):
    """Consulta, vectores y longitudes al azar, en precisión doble."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(B, H, generator=generator, dtype=torch.double)
    states = torch.randn(S, B, H, generator=generator, dtype=torch.double)
    return hidden, states, torch.randint(minimum, S + 1, (B,), generator=generator)


def random_attention(seed, dropout=0.0):
    torch.manual_seed(seed)
    return lesson.Attention(H, dropout).double()


def translator(seed=0, layers=1, bidirectional=True, dropout=0.0):
    """Un traductor diminuto: 9 palabras de origen y 8 de destino."""
    torch.manual_seed(seed)
    encoder = lesson.Encoder(9, 4, H, layers, dropout, bidirectional)
    decoder = lesson.Decoder(8, 4, H, lesson.Attention(H, dropout), layers, dropout)
    return lesson.Seq2Seq(encoder, decoder, "cpu")


def sentences(B, S, T, seed=0):
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(1, 9, (S, B), generator=generator)
    trg = torch.randint(3, 8, (T, B), generator=generator)
    trg[0] = lesson.START
    return src, torch.randint(1, S + 1, (B,), generator=generator), trg


# --- La atención ----------------------------------------------------------------------------------


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_attention_equals_the_paper_with_loops(B, S, seed):
    attention = random_attention(seed)
    hidden, states, lengths = random_case(B, S, seed)
    mask = torch.arange(S) < lengths[:, None]
    weights = attention(hidden, states, mask)
    W, U, v = attention.query, attention.key, attention.v.weight[0]
    for b, n in enumerate(lengths.tolist()):
        scores = [v @ torch.tanh(W(hidden[b]) + U(states[j, b])) for j in range(n)]
        total = sum(math.exp(score.item()) for score in scores)
        for j, score in enumerate(scores):
            assert weights[b, j].item() == pytest.approx(math.exp(score.item()) / total)
        assert weights[b, n:].abs().sum() == 0


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_attention_equals_the_short_form(B, S, seed):
    attention, short = random_attention(seed), lesson.BahdanauAttention(H).double()
    with torch.no_grad():
        joined = torch.cat([attention.query.weight, attention.key.weight], dim=1)
        short.attn.weight.copy_(joined)
        short.attn.bias.copy_(attention.query.bias)
        short.v.weight.copy_(attention.v.weight)
    hidden, states, _ = random_case(B, S, seed)
    torch.testing.assert_close(attention(hidden, states), short(hidden, states))
    keys = attention.project_keys(states)
    torch.testing.assert_close(attention(hidden, states, None, keys), short(hidden, states))


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000), training=st.booleans())
def test_weights_are_a_distribution_zero_on_padding_and_on_nothing(B, S, seed, training):
    """Con dropout, al entrenar, las filas sumaban entre 0 y 2."""
    attention = random_attention(seed, dropout=0.5).train(training)
    hidden, states, lengths = random_case(B, S, seed, minimum=0)
    states.requires_grad_()
    mask = torch.arange(S) < lengths[:, None]
    weights = attention(hidden, states, mask)
    torch.testing.assert_close(weights.sum(1), (lengths > 0).double())
    assert (weights >= 0).all()
    assert weights[~mask].abs().sum() == 0
    weights.pow(2).sum().backward()
    assert states.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_attention_in_half_precision(dtype):
    attention = lesson.Attention(H).eval()
    hidden, states = torch.randn(3, H), torch.randn(5, 3, H)
    mask = torch.arange(5) < torch.tensor([5, 2, 0])[:, None]
    expected = attention(hidden, states, mask)
    found = attention.to(dtype)(hidden.to(dtype), states.to(dtype), mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0)


# --- El traductor ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_padding_does_not_leak_and_alone_is_the_same(layers, bidirectional):
    model = translator(1, layers, bidirectional).eval()
    src, lengths, trg = sentences(4, 6, 5, seed=1)
    outputs = model(src, lengths, trg)
    padded = torch.arange(6)[:, None] >= lengths
    noisy = torch.where(padded, torch.randint(0, 9, src.shape), src)
    wider = torch.cat([noisy, torch.full((3, 4), 5)])
    assert torch.equal(model(noisy, lengths, trg), outputs)
    torch.testing.assert_close(model(wider, lengths, trg), outputs)
    for b, n in enumerate(lengths.tolist()):
        alone = model(src[:n, b : b + 1], lengths[b : b + 1], trg[:, b : b + 1])
        torch.testing.assert_close(alone[:, 0], outputs[:, b], atol=1e-5, rtol=0)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_encoder_is_a_gru_of_each_sentence(layers, bidirectional):
    model = translator(2, layers, bidirectional).eval()
    encoder, (src, lengths, _) = model.encoder, sentences(3, 6, 2, seed=3)
    outputs, hidden = encoder(src, lengths)
    assert tuple(outputs.shape) == (6, 3, H)
    assert tuple(hidden.shape) == (layers, 3, H)
    for b, n in enumerate(lengths.tolist()):
        out, last = encoder.gru(encoder.embedding(src[:n, b]))
        torch.testing.assert_close(outputs[:n, b], out, atol=1e-6, rtol=0)
        if bidirectional:
            ends = torch.cat([out[-1, : H // 2], out[0, H // 2 :]])
            last = torch.cat([last[0::2], last[1::2]], dim=-1)
            torch.testing.assert_close(last[-1], ends)
            last = torch.tanh(encoder.bridge(last))
        torch.testing.assert_close(hidden[:, b], last, atol=1e-6, rtol=0)
        assert outputs[n:, b].abs().sum() == 0


def test_decoder_step_is_the_paper():
    model = translator(3).eval()
    decoder, (src, lengths, _) = model.decoder, sentences(3, 5, 2, seed=2)
    hidden, states, keys, mask = model.start(src, lengths)
    tokens = torch.tensor([1, 4, 5])
    logits, new, weights = decoder(tokens, hidden, states, mask)
    y = decoder.embedding(tokens)
    torch.testing.assert_close(weights, decoder.attention(hidden[-1], states, mask, keys))
    context = torch.stack([weights[b] @ states[:, b] for b in range(3)])
    cell = nn.GRUCell(4 + H, H)
    cell.load_state_dict({name[:-3]: value for name, value in decoder.gru.state_dict().items()})
    expected = cell(torch.cat([y, context], 1), hidden[0])
    torch.testing.assert_close(new[0], expected)
    torch.testing.assert_close(logits, decoder.out(torch.cat([expected, context, y], 1)))


def test_keys_are_projected_once_per_sentence():
    """El defecto: se proyectaban de nuevo en cada paso."""
    model, calls = translator(), []
    model.decoder.attention.key.register_forward_hook(lambda *_: calls.append(1))
    model(*sentences(2, 5, 9))
    assert len(calls) == 1


def test_evaluation_never_uses_teacher_forcing():
    """El defecto: por defecto se forzaba la mitad de las veces, también al evaluar."""
    model = translator().eval()
    src, lengths, trg = sentences(3, 5, 6)
    free = model(src, lengths, trg)
    for seed in range(3):
        torch.manual_seed(seed)
        assert torch.equal(model(src, lengths, trg, teacher_forcing_ratio=1.0), free)
    other = torch.cat([trg[:1], torch.randint(3, 8, (5, 3))])
    assert torch.equal(model(src, lengths, other), free)
    words, _ = lesson.translate(model, src, lengths, max_len=5)
    before_end = (words != lesson.END).cumprod(0).bool()
    logits = lesson.next_log_probs(free[1:].flatten(0, 1)).view(5, 3, -1)[: len(words)]
    allowed = (free[1:].argmax(-1) > lesson.START).cumprod(0).bool()[: len(words)]
    same = before_end & allowed  # hasta que la voraz sin prohibiciones escribe relleno o inicio
    assert torch.equal(logits.argmax(-1)[same], words[same])


def test_training_uses_the_ratio():
    model = translator().train()
    src, lengths, trg = sentences(3, 5, 8)
    other = torch.cat([trg[:1], torch.randint(3, 8, (7, 3))])
    free, same = (model(src, lengths, t, teacher_forcing_ratio=0.0) for t in (trg, other))
    assert torch.equal(free, same)
    forced, moved = (model(src, lengths, t, teacher_forcing_ratio=1.0) for t in (trg, other))
    assert not torch.equal(forced, moved)


def test_the_first_output_predicts_nothing_and_is_out_of_the_loss():
    """El defecto: sus ceros entraban en la pérdida y sumaban ln V."""
    model = translator().train()
    src, lengths, trg = sentences(3, 5, 6)
    trg[4:, 1] = lesson.PAD
    outputs = model(src, lengths, trg, teacher_forcing_ratio=1.0)
    assert outputs[0].abs().sum() == 0
    each = [
        F.cross_entropy(outputs[t, b], trg[t, b]).item()
        for b in range(3)
        for t in range(1, 6)
        if trg[t, b] != lesson.PAD
    ]
    loss = lesson.translation_loss(model, (src, lengths, trg))
    assert loss.item() == pytest.approx(sum(each) / len(each), abs=1e-5)


def test_different_numbers_of_layers_are_a_clear_error():
    """El defecto: dos capas y una acababan en un RuntimeError de formas."""
    encoder = lesson.Encoder(9, 4, H, num_layers=2)
    decoder = lesson.Decoder(8, 4, H, lesson.Attention(H))
    with pytest.raises(ValueError, match="2 capas y el decodificador 1"):
        lesson.Seq2Seq(encoder, decoder, "cpu")
    with pytest.raises(ValueError, match="debe ser par"):
        lesson.Encoder(9, 4, 5, bidirectional=True)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([6, 1], "de 0 a 5"), ([-1, 1], "de 0 a 5"), ([3], "deben ser"), ([[3, 3]], "deben ser")],
)
def test_impossible_lengths_are_clear_errors(lengths, message):
    src, _, trg = sentences(2, 5, 3)
    with pytest.raises(ValueError, match=message):
        translator()(src, torch.tensor(lengths), trg)


def test_device_follows_the_module():
    """El defecto: `.to()` dejaba atrás `.device`, y las longitudes no se movían."""
    model = translator()
    assert model.device.type == "cpu"
    assert model.to("meta").device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="hace falta una GPU")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_runs_on_the_gpu_wherever_the_lengths_are(where):
    model, (src, lengths, trg) = translator().eval(), sentences(3, 5, 4)
    expected = model(src, lengths, trg)
    found = model.to("cuda")(src.to(where), lengths.to(where), trg.to(where))
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)


def test_an_empty_sentence_is_defined_and_gradients_are_finite():
    model = translator()
    src, _, trg = sentences(3, 5, 4)
    outputs = model(src, torch.tensor([5, 0, 2]), trg)
    assert outputs.isfinite().all()
    outputs.pow(2).sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_every_parameter_receives_a_gradient():
    model = translator(layers=2)
    lesson.translation_loss(model, sentences(3, 5, 4)).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_select_and_step_equal_a_batch_made_by_hand():
    model = translator().eval()
    src, lengths, _ = sentences(3, 5, 2)
    rows = torch.tensor([2, 0, 2, 1])
    state, tokens = model.start(src, lengths), torch.tensor([1, 3, 4])
    _, state, _ = model.step(tokens, state)
    chosen = model.step(tokens[rows], model.select(state, rows))[0]
    torch.testing.assert_close(chosen, model.step(tokens, state)[0][rows])


# --- Los datos y sus medidas ----------------------------------------------------------------------


def test_gold_alignments_are_translations_word_by_word():
    rng = random.Random(0)
    forms = {}
    for group in (lesson.NOUNS, lesson.MATERIALS, lesson.PREPOSITIONS):
        forms |= group
    for group in (lesson.DETERMINERS, lesson.COLORS, lesson.SIZES):
        forms |= {form: english for pair, english in group.items() for form in pair}
    for _ in range(300):
        source, target, sure, possible = lesson.random_pair(rng, rng.randint(1, 5))
        assert sure <= possible
        assert sorted(i for i, _ in sure) == list(range(len(target)))
        assert all(forms[source[j]] == target[i] for i, j in sure)
        assert all(
            source[j] == "de" and source[j + 1] in lesson.MATERIALS for _, j in possible - sure
        )
        unaligned = set(range(len(source))) - {j for _, j in possible}
        assert not unaligned


def test_sentences_agree_in_gender():
    masculine, feminine = (
        {pair[g] for group in (lesson.DETERMINERS, lesson.COLORS, lesson.SIZES) for pair in group}
        for g in (0, 1)
    )
    for source, *_ in lesson.make_pairs(200, seed=3, most_nouns=1):
        gender = feminine if source[1] in lesson.FEMININE else masculine
        adjectives = [w for w in source if w in masculine | feminine]
        assert all(word in gender for word in adjectives)


def test_pairs_are_distinct_deterministic_and_in_the_vocabulary():
    pairs = lesson.make_pairs(300, seed=1)
    assert pairs == lesson.make_pairs(300, seed=1)
    assert len({" ".join(pair[0]) for pair in pairs}) == 300
    assert len(set(lesson.SPANISH)) == len(lesson.SPANISH)
    assert len(set(lesson.ENGLISH)) == len(lesson.ENGLISH)
    src, lengths, trg = lesson.to_batch(pairs)
    for b, (source, target, *_) in enumerate(pairs):
        assert [lesson.SPANISH[i] for i in src[: lengths[b], b]] == source
        words = [lesson.ENGLISH[i] for i in trg[:, b] if i != lesson.PAD]
        assert words == ["<inicio>", *target, "<fin>"]


@few_examples
@given(seed=st.integers(0, 10_000))
def test_alignment_error_rate_is_the_definition(seed):
    rng = random.Random(seed)
    pairs = [lesson.random_pair(rng, rng.randint(1, 3)) for _ in range(5)]
    links = [
        {(i, rng.randrange(len(source))) for i in range(len(target)) if rng.random() < 0.8}
        for source, target, *_ in pairs
    ]
    A, S, P = (
        {(k, *link) for k, group in enumerate(groups) for link in group}
        for groups in (links, [pair[2] for pair in pairs], [pair[3] for pair in pairs])
    )
    expected = 1 - (len(A & S) + len(A & P)) / (len(A) + len(S))
    assert lesson.alignment_error(links, pairs) == pytest.approx(expected)
    assert lesson.alignment_error([pair[2] for pair in pairs], pairs) == 0


def test_exact_matches_punishes_any_wrong_word():
    pairs = lesson.make_pairs(20, seed=5)
    torch.manual_seed(0)
    model = lesson.build_translator()
    src, lengths, trg = lesson.to_batch(pairs)
    words = lesson.translate(model, src, lengths, max_len=len(trg))[0]
    expected = [
        [lesson.ENGLISH[i] for i in words[:, b] if i != lesson.PAD] == [*pair[1], "<fin>"]
        for b, pair in enumerate(pairs)
    ]
    assert lesson.exact_matches(model, pairs).tolist() == expected


# --- El experimento, con tres semillas ------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus():
    train = lesson.make_pairs(4000, seed=1)
    seen = {" ".join(pair[0]) for pair in train}
    test = [pair for pair in lesson.make_pairs(1500, seed=2) if " ".join(pair[0]) not in seen]
    return train, test[:1000]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_attention_translates_and_aligns(corpus, seed):
    torch.set_num_threads(1)
    train, test = corpus
    lesson.set_seed(seed)
    model = lesson.build_translator()
    batches = lesson.growing_batches(train, 600)
    lesson.fit(model, batches, lesson.translation_loss, steps=600, lr=5e-3, label="")
    right = lesson.exact_matches(model, test)
    links = lesson.strongest_links(lesson.forced_maps(model, test), test)
    long = torch.tensor([len(pair[0]) >= 20 for pair in test])
    exact, exact_long, error = (
        right.float().mean(),
        right[long].float().mean(),
        lesson.alignment_error(links, test),
    )
    assert exact >= 0.95
    assert exact_long > 0.75
    assert error <= 0.15
