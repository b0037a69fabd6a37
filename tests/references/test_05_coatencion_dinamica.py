"""La coatención y los lectores de la lección: el artículo, y sin los defectos conocidos."""

import math
import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.notebooks import load

lesson = load("05_coatencion_dinamica")
few_examples = settings(max_examples=30, deadline=None)
SIZES = {"B": st.integers(1, 4), "T": st.integers(1, 7), "J": st.integers(1, 5)}
H = 4


def random_case(B, T, J, seed, minimum=1):
    """Números de palabra, ninguno 0 (tampoco en el relleno), y longitudes."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(1, 12, (B, size), generator=generator) for size in (T, J)]
    lengths = [torch.randint(minimum, size + 1, (B,), generator=generator) for size in (T, J)]
    return *ids, *lengths


def small_reader(seed=0, **options):
    torch.manual_seed(seed)
    return lesson.SpanReader(12, 5, H, **options).double().eval()


def small_network(seed=0, **options):
    torch.manual_seed(seed)
    return lesson.DynamicCoattentionNetwork(12, 5, H, **options).double().eval()


# --- Igual que el artículo ------------------------------------------------------------------------


def coattention_with_loops(layer, d, q):
    """`[D; C^D]` de un ejemplo sin relleno: d `[T, H]`, q `[J, H]`."""
    D = [*d, layer.doc_sentinel]
    Q = [torch.tanh(layer.question_projection(x)) for x in [*q, layer.ques_sentinel]]
    e = [[math.exp(float(x @ y)) for y in Q] for x in D]
    C_Q = []
    for j in range(len(Q)):
        total = sum(row[j] for row in e)
        C_Q.append(sum(e[t][j] / total * D[t] for t in range(len(D))))
    rows = []
    for t in range(len(d)):
        parts = [w / sum(e[t]) * torch.cat([y, c]) for w, y, c in zip(e[t], Q, C_Q, strict=True)]
        rows.append(torch.cat([D[t], sum(parts)]))
    return torch.stack(rows)


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_coattention_equals_loops_and_maps_are_distributions(B, T, J, seed):
    torch.manual_seed(seed)
    layer = lesson.SentinelCoattention(H).double()
    *_, doc_lengths, ques_lengths = random_case(B, T, J, seed, minimum=0)
    d, q = torch.randn(B, T, H).double(), torch.randn(B, J, H).double()
    masks = [torch.arange(s) < n[:, None] for s, n in ((T, doc_lengths), (J, ques_lengths))]
    with torch.no_grad():
        fused, A_Q, A_D = layer(d, q, *masks)
        for b, (n, m) in enumerate(zip(doc_lengths.tolist(), ques_lengths.tolist(), strict=True)):
            if n:
                expected = coattention_with_loops(layer, d[b, :n], q[b, :m])
                torch.testing.assert_close(fused[b, :n], expected)
    real = [torch.nn.functional.pad(mask, (0, 1), value=True).double() for mask in masks]
    torch.testing.assert_close(A_Q.sum(1), real[1])
    torch.testing.assert_close(A_D.sum(2), real[0])


@few_examples
@given(T=st.integers(1, 6), p=st.integers(1, 4), seed=st.integers(0, 10_000))
def test_highway_maxout_equals_loops(T, p, seed):
    torch.manual_seed(seed)
    scorer = lesson.HighwayMaxout(H, p).double()
    U, h, s, e = (
        torch.randn(2, *shape).double() for shape in ((T, 2 * H), (H,), (2 * H,), (2 * H,))
    )

    def maxout(layer, x):
        values = layer(x).tolist()
        return torch.tensor(
            [max(values[o * p : (o + 1) * p]) for o in range(len(values) // p)]
        ).double()

    with torch.no_grad():
        found = scorer(U, h, s, e)
        for b in range(2):
            r = torch.tanh(scorer.mix.weight @ torch.cat([h[b], s[b], e[b]]))
            for t in range(T):
                m1 = maxout(scorer.first, torch.cat([U[b, t], r]))
                m2 = maxout(scorer.second, m1)
                score = maxout(scorer.third, torch.cat([m1, m2]))
                assert found[b, t].item() == pytest.approx(score.item(), abs=1e-6)


def test_decoder_follows_the_paper_step_by_step():
    """Los dos extremos se puntúan con las estimaciones anteriores, y el estado avanza."""
    torch.manual_seed(0)
    decoder = lesson.DynamicDecoder(H, max_iterations=4).double()
    U, mask = torch.randn(1, 9, 2 * H).double() * 3, torch.ones(1, 9, dtype=torch.bool)
    start = end = torch.tensor([0])
    state = None
    for step in decoder(U, mask, start, end):
        u_start, u_end = U[:, start.item()], U[:, end.item()]
        state = decoder.cell(torch.cat([u_start, u_end], 1), state)
        for scorer, scores in (
            (decoder.start_scorer, step.start_scores),
            (decoder.end_scorer, step.end_scores),
        ):
            torch.testing.assert_close(scores, scorer(U, state[0], u_start, u_end))
        start, end = step.start, step.end
        assert start == step.start_scores.argmax()
        assert end == step.end_scores.argmax()


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_the_decoder_stops_example_by_example_and_never_chooses_padding(B, T, J, seed):
    torch.manual_seed(seed)
    decoder = lesson.DynamicDecoder(H, max_iterations=6)
    U = torch.randn(B, T, 2 * H) * 3
    lengths = torch.randint(1, T + 1, (B,))
    mask = torch.arange(T) < lengths[:, None]
    zero = torch.zeros(B, dtype=torch.long)
    steps = decoder(U, mask, zero, zero)
    for before, after in pairwise(steps):
        stopped = ~after.active
        assert torch.equal(before.start[stopped], after.start[stopped])
        assert torch.equal(before.end[stopped], after.end[stopped])
    for step in steps:
        assert (step.start < lengths).all()
        assert (step.end < lengths).all()
        assert step.start_scores[~mask].eq(-math.inf).all()
    for b in range(B):
        alone = decoder(U[b : b + 1], mask[b : b + 1], zero[:1], zero[:1])[-1]
        assert (alone.start, alone.end) == (steps[-1].start[b], steps[-1].end[b])


# --- Relleno, y los defectos de la implementación de partida, uno por prueba ----------------------


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_padding_does_not_leak_and_alone_is_the_same(B, T, J, seed):
    reader, network = small_reader(seed), small_network(seed)
    document, question, *lengths = random_case(B, T, J, seed)
    wider = [torch.randint(0, 12, (B, size + 3)) for size in (T, J)]
    for wide, ids, length in zip(wider, (document, question), lengths, strict=True):
        for b, n in enumerate(length.tolist()):
            wide[b, :n] = ids[b, :n]
    with torch.no_grad():
        before, after = reader(document, question, *lengths), reader(*wider, *lengths)
        torch.testing.assert_close(after[0].start_scores[:, :T], before[0].start_scores)
        assert torch.equal(after[-1].end, before[-1].end)
        log_probabilities = network(document, question, *lengths)
        torch.testing.assert_close(network(*wider, *lengths), log_probabilities)
        n, m = (int(length[0]) for length in lengths)
        alone = network(document[:1, :n], question[:1, :m], *(length[:1] for length in lengths))
        torch.testing.assert_close(alone[0], log_probabilities[0])


def test_a_batch_shorter_than_its_tensor_works():
    """El defecto: con max(doc_lengths) < T fallaba."""
    document, question, *_ = random_case(2, 8, 5, 0)
    lengths = torch.tensor([5, 3]), torch.tensor([2, 4])
    assert small_network()(document, question, *lengths).shape == (2, 3)
    assert small_reader()(document, question, *lengths)[0].start_scores.shape == (2, 8)


def test_masks_come_from_the_lengths():
    """El defecto: la máscara salía de los números de palabra; una palabra 0 real desaparecía."""
    reader = small_reader()
    document, question = torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 2, dtype=torch.long)
    masks = reader.masks(document, question, torch.tensor([3]), torch.tensor([1]))
    assert masks[0].tolist() == [[True, True, True, False]]
    assert masks[1].tolist() == [[True, False]]
    leftovers = torch.full((1, 4), 7)
    _, _, A_Q, A_D = reader.encode(leftovers, question, torch.tensor([2]), torch.tensor([2]))
    assert A_Q[0, 2:4].abs().sum() == A_D[0, 2:4].abs().sum() == 0


def test_every_recurrent_weight_learns():
    """El defecto: una LSTM sobre una secuencia de una palabra: weight_hh no recibe gradiente."""
    for model in (small_reader(), small_network()):
        document, question, *lengths = random_case(3, 6, 4, 1)
        out = model(document, question, *lengths)
        if isinstance(out, list):
            terms = [(step.start_scores[:, 0] ** 2 + step.end_scores[:, 0] ** 2) for step in out]
            assert len(out) > 1
            sum(terms).sum().backward()
        else:
            out[:, 0].sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if "weight_hh" in n}
        assert gradients
        assert all(gradient.abs().max() > 0 for gradient in gradients.values()), gradients


def test_coattention_is_not_one_way_attention_with_a_relu():
    """El defecto: `Coattention` era la de otro cuaderno con una ReLU.

    Aquí, lo que cada palabra de `source` lee en `target` lleva dentro lo que este leyó en ella.
    """
    torch.manual_seed(0)
    layer = lesson.Coattention(H).eval()
    source, target = torch.randn(2, 5, H), torch.randn(2, 3, H)
    source.requires_grad_()
    fused, _, A_D = layer.coattention(
        source, target, torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
    )
    fused[0, 0, 2 * H :].sum().backward()  # el bloque C de la primera palabra…
    assert (source.grad[0].abs().amax(1) > 1e-6).all()  # … depende de todas las de source
    Q = torch.tanh(layer.coattention.question_projection(
        torch.cat([target, layer.coattention.ques_sentinel.expand(2, 1, -1)], 1)
    ))  # fmt: skip
    torch.testing.assert_close(fused[..., H : 2 * H], (A_D @ Q)[:, :-1])


def test_the_padding_row_stays_zero():
    for model in (small_reader(), small_network()):
        assert model.word.weight[0].abs().sum() == 0
        document, question, *lengths = random_case(2, 5, 3, 0)
        document[0, 0] = 0
        out = model(document, question, *lengths)
        (out[0].start_scores[:, 0] if isinstance(out, list) else out).sum().backward()
        assert model.word.weight.grad[0].abs().sum() == 0


def test_empty_sequences_are_finite_with_finite_gradients():
    for model in (small_reader(), small_network()):
        document, question, *_ = random_case(3, 5, 4, 0)
        out = model(document, question, torch.tensor([5, 0, 3]), torch.tensor([4, 4, 0]))
        scores = out[0].start_scores[[0, 2], 0] if isinstance(out, list) else out
        assert scores.isfinite().all()
        scores.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_nan_in_padding_does_not_leak_and_empty_source_is_zero():
    layer = lesson.Coattention(H).eval()
    source, target = torch.randn(2, 4, H), torch.randn(2, 3, H)
    masks = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    expected = layer(source, target, *masks)
    source[0, 2:] = target[1, 1:] = float("nan")
    torch.testing.assert_close(layer(source, target, *masks), expected)
    assert expected.shape == (2, H)
    assert expected[1].abs().sum() == 0
    assert layer.half()(source.half(), target.half(), *masks).isfinite().all()


@pytest.mark.parametrize(
    ("doc_lengths", "message"),
    [
        ([7, 1], "entre 0 y 6"),
        ([-1, 1], "entre 0 y 6"),
        ([3], "deben ser"),
        ([[3, 3]], "deben ser"),
    ],
)
def test_impossible_lengths_are_clear_errors(doc_lengths, message):
    for model in (small_reader(), small_network()):
        document, question, *_ = random_case(2, 6, 4, 0)
        with pytest.raises(ValueError, match=message):
            model(document, question, torch.tensor(doc_lengths), torch.tensor([4, 4]))


@pytest.mark.parametrize("layers", [1, 2])
def test_options_and_dropout(layers):
    network = small_network(num_layers=layers, num_classes=5)
    case = random_case(2, 6, 4, 0)
    out = network(*case)
    assert out.shape == (2, 5)
    torch.testing.assert_close(out.exp().sum(1), torch.ones(2, dtype=torch.double))
    assert torch.equal(network(*case), out)
    network.train()
    assert not torch.equal(network(*case), network(*case))


def test_the_deep_layer_of_the_exercise_with_one_round_is_the_lesson():
    torch.manual_seed(0)
    layer, deep = lesson.SentinelCoattention(H), lesson.DeepCoattention(H, 1)
    deep.load_state_dict(layer.state_dict())
    d, q = torch.randn(2, 5, H), torch.randn(2, 3, H)
    masks = torch.arange(5) < torch.tensor([[5], [2]]), torch.arange(3) < torch.tensor([[1], [3]])
    torch.testing.assert_close(deep(d, q, *masks)[masks[0]], layer(d, q, *masks)[0][masks[0]])


# --- Los datos y el aprendizaje -------------------------------------------------------------------


def test_stories_have_two_plausible_spans_and_the_question_decides():
    rng = random.Random(0)
    lengths, starts = set(), set()
    for _ in range(300):
        words, question, (start, end), (s, e) = lesson.random_story(rng)
        assert set(words) | set(question) <= set(lesson.VOCAB)
        assert words[start - 1] == words[s - 1] == "compró"
        assert words[end + 1] == words[e + 1] == "."
        clue = question[-1]
        assert words.count(clue) == 1
        near = words[start - 2], words[end]
        assert clue in near
        assert clue not in (words[s - 2], words[e])
        lengths.add(end - start + 1)
        starts.add(start)
    assert lengths == {1, 2, 4, 5}
    assert len(starts) > 6


def trained(seed, decoder):
    lesson.set_seed(seed)
    reader = lesson.SpanReader(lesson.VOCAB_SIZE, 32, 32, decoder())
    optimizer = torch.optim.AdamW(reader.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=230)
    batches = lesson.random_batches(lesson.make_stories(4000, 1))
    for _, batch in zip(range(230), batches, strict=False):
        optimizer.zero_grad()
        lesson.span_loss(reader, batch).backward()
        optimizer.step()
        schedule.step()
    return reader.eval()


def accuracies(reader, initial_of):
    """El acierto de la estimación inicial y el de cada iteración, en textos nuevos."""
    test = lesson.make_stories(600, 2)
    spans = lesson.estimates(reader, test, initial_of(test))
    return [lesson.exact(span, test.answer).float().mean().item() for span in spans]


@pytest.mark.parametrize("seed", [1, 2])  # la 0 es la del cuaderno
def test_the_dynamic_reader_leaves_the_local_optimum_in_one_iteration(seed):
    reader = trained(seed, lambda: lesson.DynamicDecoder(32, 2))
    found = accuracies(reader, lambda test: test.other.unbind(1))
    assert found[0] == 0
    assert found[-1] > 0.95
    assert abs(found[-1] - found[1]) < 0.02  # las demás iteraciones apenas cambian nada


def test_one_shot_also_learns_with_another_seed():
    """Lo que dice la lección: el de un intento no es peor, con la semilla 1."""
    reader = trained(1, lambda: lesson.OneShotDecoder(32))
    assert accuracies(reader, lambda test: [torch.zeros_like(test.doc_lengths)] * 2)[-1] > 0.95
