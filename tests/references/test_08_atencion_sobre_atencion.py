"""`AttentionOverAttention` y el lector de la lección: el artículo, y sin los defectos conocidos."""

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.notebooks import load

lesson = load("08_atencion_sobre_atencion")
few_examples = settings(max_examples=50, deadline=None)
SIZES = {"B": st.integers(1, 4), "T": st.integers(1, 7), "Q": st.integers(1, 5)}


def random_case(B, T, Q, seed, minimum=1):
    """Vectores y longitudes al azar, en precisión doble."""
    generator = torch.Generator().manual_seed(seed)
    document, question = (
        torch.randn(B, size, 5, generator=generator, dtype=torch.double) for size in (T, Q)
    )
    lengths = [torch.randint(minimum, size + 1, (B,), generator=generator) for size in (T, Q)]
    return document, question, *lengths


def random_layer(seed, **options):
    torch.manual_seed(seed)
    return lesson.AttentionOverAttention(5, 3, **options).double().eval()


def formula(scores):
    """La atención de un ejemplo sin relleno, con bucles: scores `[T, Q]` → `[T]`."""
    M = scores.tolist()
    T, Q = len(M), len(M[0])
    columns = [sum(math.exp(M[t][j]) for t in range(T)) for j in range(Q)]
    rows = [sum(math.exp(m) for m in M[t]) for t in range(T)]
    votes = [sum(math.exp(M[t][j]) / rows[t] for t in range(T)) / T for j in range(Q)]
    return [sum(math.exp(M[t][j]) / columns[j] * votes[j] for j in range(Q)) for t in range(T)]


# --- Igual que el artículo ------------------------------------------------------------------------


@few_examples
@given(**SIZES, layers=st.sampled_from([1, 2]), seed=st.integers(0, 10_000))
def test_equals_the_paper_example_by_example(B, T, Q, layers, seed):
    layer = random_layer(seed, num_layers=layers)
    document, question, doc_lengths, ques_lengths = random_case(B, T, Q, seed)
    context, aoa = layer(document, question, doc_lengths, ques_lengths)
    assert tuple(aoa.shape) == (B, T)
    for b, (n, m) in enumerate(zip(doc_lengths.tolist(), ques_lengths.tolist(), strict=True)):
        h_doc, h_ques = (
            gru(x[b : b + 1, :length])[0][0]
            for gru, x, length in (
                (layer.document_gru, document, n),
                (layer.question_gru, question, m),
            )
        )
        expected = torch.tensor(formula(h_doc @ h_ques.T), dtype=torch.double)
        torch.testing.assert_close(aoa[b, :n], expected)
        assert aoa[b, n:].abs().sum() == 0
        torch.testing.assert_close(context[b], expected @ h_doc)


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_is_a_distribution_zero_on_padding_and_on_nothing(B, T, Q, seed):
    layer = random_layer(seed)
    document, question, doc_lengths, ques_lengths = random_case(B, T, Q, seed, minimum=0)
    document.requires_grad_()
    context, aoa = layer(document, question, doc_lengths, ques_lengths)
    something = ((doc_lengths > 0) & (ques_lengths > 0)).double()
    torch.testing.assert_close(aoa.sum(1), something)
    assert (aoa >= 0).all()
    assert aoa[torch.arange(T) >= doc_lengths[:, None]].abs().sum() == 0
    assert context[something == 0].abs().sum() == 0
    (context.sum() + aoa.pow(2).sum()).backward()
    assert document.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_padding_does_not_leak_and_alone_is_the_same(B, T, Q, seed):
    layer = random_layer(seed)
    document, question, *lengths = random_case(B, T, Q, seed)
    masks = [torch.arange(s) < n[:, None] for s, n in zip((T, Q), lengths, strict=True)]
    noisy = [
        torch.where(mask[..., None], x, torch.randn_like(x) * 100)
        for x, mask in zip((document, question), masks, strict=True)
    ]
    context, aoa = layer(document, question, *lengths)
    noisy_context, noisy_aoa = layer(*noisy, *lengths)
    assert torch.equal(context, noisy_context)
    assert torch.equal(aoa, noisy_aoa)
    n, m = (int(length[0]) for length in lengths)
    alone_context, alone_aoa = layer(document[:1, :n], question[:1, :m])
    torch.testing.assert_close(alone_context[0], context[0])
    torch.testing.assert_close(alone_aoa[0], aoa[0, :n])


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_sum_attention_equals_a_loop(B, T, Q, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(B, T, generator=generator, dtype=torch.double)
    ids = torch.randint(0, Q, (B, T), generator=generator)
    found = lesson.sum_attention(weights, ids, Q)
    for b in range(B):
        for word in range(Q):
            expected = sum(
                w for w, i in zip(weights[b].tolist(), ids[b].tolist(), strict=True) if i == word
            )
            assert found[b, word].item() == pytest.approx(expected)


# --- Los defectos de la implementación de partida, uno por prueba ---------------------------------


def test_the_product_mean_is_not_a_distribution_and_aoa_is():
    """La fórmula de partida suma alrededor de 1/Q, y depende del relleno de la pregunta."""
    document, question = torch.randn(2, 9, 5), torch.randn(2, 6, 5)
    torch.manual_seed(0)
    wrong, right = lesson.ProductMean(5, 3).eval(), lesson.AttentionOverAttention(5, 3).eval()
    right.load_state_dict(wrong.state_dict())
    torch.testing.assert_close(right(document, question)[1].sum(1), torch.ones(2))
    sums = wrong(document, question)[1].sum(1)
    assert (sums < 0.4).all()
    wider = torch.cat([question, torch.zeros(2, 6, 5)], dim=1)
    lengths = torch.tensor([9, 9]), torch.tensor([6, 6])
    torch.testing.assert_close(wrong(document, wider, *lengths)[1].sum(1), sums / 2)
    torch.testing.assert_close(
        right(document, wider, *lengths)[1], right(document, question)[1], atol=1e-6, rtol=0
    )


def test_alpha_sums_over_the_document_and_beta_over_the_question():
    layer = random_layer(0)
    document, question, *lengths = random_case(3, 6, 4, 1)
    _, alpha, beta, query_weights, _ = layer.maps(document, question, *lengths)
    masks = [(torch.arange(s) < n[:, None]).double() for s, n in zip((6, 4), lengths, strict=True)]
    torch.testing.assert_close(alpha.sum(1), masks[1])
    torch.testing.assert_close(beta.sum(2), masks[0])
    torch.testing.assert_close(query_weights.sum(1), torch.ones(3, dtype=torch.double))


def test_a_batch_shorter_than_its_tensor_keeps_the_shape():
    """Sin `total_length`, la salida se recortaba al documento más largo."""
    layer = random_layer(0)
    document, question, *_ = random_case(2, 8, 5, 0)
    _, aoa = layer(document, question, torch.tensor([5, 3]), torch.tensor([2, 3]))
    assert tuple(aoa.shape) == (2, 8)


def test_the_order_of_the_batch_does_not_matter():
    layer = random_layer(0)
    inputs = random_case(4, 6, 4, 3)
    order = torch.tensor([2, 0, 3, 1])
    straight = layer(*inputs)
    moved = layer(*(value[order] for value in inputs))
    for a, b in zip(straight, moved, strict=True):
        torch.testing.assert_close(b, a[order])


def test_no_initialisation_that_changes_nothing():
    """El defecto: un `_init_weights` que recorre parámetros y no toca ninguno."""
    assert not hasattr(lesson.AttentionOverAttention, "_init_weights")
    torch.manual_seed(0)
    first, second = (lesson.AttentionOverAttention(5, 3).state_dict() for _ in range(2))
    assert all(not torch.equal(first[name], second[name]) for name in first)


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
    with pytest.raises(ValueError, match=message):
        lesson.AttentionOverAttention(5, 3)(
            torch.randn(2, 6, 5), torch.randn(2, 4, 5), torch.tensor(doc_lengths)
        )


def test_sum_attention_needs_equal_shapes():
    with pytest.raises(ValueError, match="misma forma"):
        lesson.sum_attention(torch.rand(2, 3), torch.zeros(2, 4, dtype=torch.long), 5)


def test_dropout_acts_only_while_training():
    layer = lesson.AttentionOverAttention(5, 3, dropout=0.5)
    document, question = torch.randn(2, 6, 5), torch.randn(2, 4, 5)
    assert not torch.equal(layer(document, question)[1], layer(document, question)[1])
    layer.eval()
    assert torch.equal(layer(document, question)[1], layer(document, question)[1])


def test_every_parameter_receives_a_gradient():
    layer = lesson.AttentionOverAttention(5, 3, num_layers=2, dropout=0.0)
    _, aoa = layer(torch.randn(2, 6, 5), torch.randn(2, 4, 5), torch.tensor([6, 2]))
    aoa.pow(2).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_word_by_word_each_search_knows_only_its_word():
    layer = lesson.WordByWordAoA(5, 3).eval()
    document, question = torch.randn(1, 6, 5), torch.randn(1, 4, 5)
    changed = question.clone()
    changed[:, 1:] = torch.randn(1, 3, 5)
    before, after = (layer.maps(document, q)[1] for q in (question, changed))
    torch.testing.assert_close(after[..., 0], before[..., 0])
    assert (after[..., 1:] - before[..., 1:]).abs().amax(1).min() > 1e-4
    names = [name for name, _ in lesson.WordByWordEqualVotes(5, 3).named_parameters()]
    assert not any(name.startswith("question_gru") for name in names)


def test_equal_votes_count_only_real_words():
    for layer_class in (lesson.EqualVotes, lesson.WordByWordEqualVotes):
        layer = layer_class(5, 3).eval()
        lengths = torch.tensor([6, 6]), torch.tensor([4, 2])
        votes = layer.maps(torch.randn(2, 6, 5), torch.randn(2, 4, 5), *lengths)[3]
        torch.testing.assert_close(votes, torch.tensor([[0.25] * 4, [0.5, 0.5, 0.0, 0.0]]))


def test_order_blind_layer_is_blind():
    layer = lesson.OrderBlindAoA(5, 3).eval()
    document, question = torch.randn(1, 6, 5), torch.randn(1, 4, 5)
    order = torch.randperm(6)
    torch.testing.assert_close(
        layer(document[:, order], question)[1], layer(document, question)[1][:, order]
    )


@pytest.mark.parametrize("d", [1, 2, 7, 16])
def test_positional_encoding(d):
    layer = lesson.PositionalEncoding(d, dropout=0.0, max_len=30)
    table = layer(torch.zeros(1, 30, d))[0]
    for t in (0, 1, 29):
        for k in range(d):
            angle = t / 10000 ** ((k - k % 2) / d)
            expected = math.cos(angle) if k % 2 else math.sin(angle)
            assert table[t, k].item() == pytest.approx(expected, abs=1e-5)
    assert not list(layer.parameters())
    assert layer.to("meta").table.is_meta


# --- Los datos ------------------------------------------------------------------------------------


def kind_of(word):
    kinds = {"p": lesson.PEOPLE, "c": lesson.CITIES, "t": lesson.THINGS}
    return next((kind for kind, words in kinds.items() if word in words), None)


def test_stories_have_two_candidates_of_each_type_and_one_right_answer():
    rng = random.Random(0)
    for _ in range(300):
        document, question, answer = lesson.random_story(rng)
        sentences = " ".join(document).split(" . ")
        facts = [
            {word for word in sentence.split() if kind_of(word)}
            for sentence in sentences
            if kind_of(sentence.split()[0])
        ]
        entities = set().union(*facts)
        assert sorted(kind_of(word) for word in entities) == ["c", "c", "p", "p", "t", "t"]
        (given_word,) = [word for word in question if kind_of(word)]
        verb = "tiene" if "tiene" in question else "estuvo"
        wanted = {"tiene": "t", "estuvo": "c"}[verb]
        matching = [f for f in facts if given_word in f and any(kind_of(w) == wanted for w in f)]
        assert len(matching) == 1
        assert matching[0] - {given_word} == {answer}


def test_every_word_is_in_the_vocabulary_once():
    assert len(set(lesson.VOCAB)) == len(lesson.VOCAB)
    for templates in (
        lesson.TRIPS,
        lesson.CHOICES,
        lesson.ASIDES,
        lesson.OPENINGS,
        lesson.QUESTIONS,
    ):
        for word in " ".join(templates).split():
            assert word.startswith("{") or word in lesson.VOCAB


@pytest.mark.parametrize("make", [lesson.make_stories, lesson.make_lists, lesson.make_races])
def test_data_are_deterministic_and_answers_are_in_the_document(make):
    first, again, other = (make(60, seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])
    documents, _, answers = first
    assert (documents == answers[:, None]).any(1).all()


# --- Los experimentos, con tres semillas ----------------------------------------------------------


@pytest.fixture(scope="module")
def stories():
    return lesson.make_stories(6000, 1), lesson.make_stories(1000, 2)


def trained(layer_class, train, test, seed, change=lambda questions: questions, steps=220):
    lesson.set_seed(seed)
    reader = lesson.ClozeReader(layer_class(32, 32, dropout=0.0))
    (documents, questions, answers), (d, q, a) = train, test
    batches = lesson.random_batches([documents, change(questions), answers])
    lesson.fit(reader, batches, lesson.answer_loss, steps=steps, lr=0.02, label="")
    return reader, lesson.accuracy(reader, d, change(q), a)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("layer_class", "change", "low", "high"),
    [
        (lesson.AttentionOverAttention, lambda q: q, 0.9, 1.0),
        (lesson.EqualVotes, lambda q: q, 0.9, 1.0),
        (lesson.AttentionOverAttention, lesson.without_question, 0.15, 0.35),
        (lesson.AttentionOverAttention, lesson.hide_entities, 0.35, 0.62),
        (lesson.ProductMean, lambda q: q, 0.4, 0.85),
    ],
    ids=["AoA", "votos iguales", "sin pregunta", "entidad tapada", "producto"],
)
def test_what_each_condition_reaches(stories, layer_class, change, low, high, seed):
    assert low <= trained(layer_class, *stories, seed, change)[1] <= high


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_word_by_word_votes_decide_and_go_to_the_entity(stories, seed):
    reader, right = trained(lesson.WordByWordAoA, *stories, seed, steps=150)
    assert right > trained(lesson.WordByWordEqualVotes, *stories, seed, steps=150)[1] + 0.05
    documents, questions, answers = stories[1]
    with torch.no_grad():
        votes = reader.attention.maps(*reader.inputs(documents, questions))[3]
        found = reader(documents, questions).argmax(1) == answers
    ids = {
        name: torch.tensor([lesson.WORD_ID[word] for word in words])
        for name, words in {
            "entity": lesson.PEOPLE + lesson.CITIES + lesson.THINGS,
            "empty": ["dime", "según", "la", "historia"],
            "person": lesson.PEOPLE,
        }.items()
    }
    given = {name: torch.isin(questions, words) for name, words in ids.items()}
    assert (votes * given["entity"]).sum(1).mean() > 0.5
    assert (votes * given["empty"]).sum(1)[given["empty"].any(1)].mean() < 0.1
    person = given["person"].any(1)  # las preguntas en las que falla, según la solución de 3a
    assert found[~person].float().mean() > found[person].float().mean() + 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_exercise_layer_answers_and_depends_on_the_question(seed):
    lesson.set_seed(seed)
    reader = lesson.QAReader(lesson.BidirectionalAoA(32))
    lesson.train_reader(reader, *lesson.make_lists(3000, seed=1), steps=150)
    measured = lesson.evaluate_qa(reader, *lesson.make_lists(500, seed=2))
    assert measured["accuracy"] > 0.95
    assert max(measured["majority"], measured["swapped"]) < 0.5
    assert abs(measured["swapped"] - 0.361) < 0.06  # la cuenta de la solución


class Trimmed(lesson.BidirectionalAoA):
    """La capa, con algunos bloques de G a cero."""

    removed: tuple[int, ...] = ()

    def forward(self, *inputs):
        _, aoa, G = super().forward(*inputs)
        blocks = [b * (i not in self.removed) for i, b in enumerate(G.chunk(4, -1), start=1)]
        G = torch.cat(blocks, -1)
        return (aoa[:, None] @ torch.relu(self.fuse(G))).squeeze(1), aoa, G


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("removed", [(2, 3), (4,), (3, 4)])
def test_without_any_block_the_shopping_list_is_still_answered(removed, seed):
    """Lo que dice la solución de 3a: la tarea está en el techo y no distingue los bloques."""
    lesson.set_seed(seed)
    layer = Trimmed(32)
    layer.removed = removed
    reader = lesson.train_reader(lesson.QAReader(layer), *lesson.make_lists(3000, 1), steps=150)
    assert lesson.evaluate_qa(reader, *lesson.make_lists(500, 2))["accuracy"] > 0.98


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positions_help_the_order_blind_layer_and_only_it(seed):
    train, test = lesson.make_races(2000, seed=1), lesson.make_races(500, seed=2)

    def right(layer):
        return lesson.accuracy(lesson.train_reader(lesson.ClozeReader(layer), *train), *test)

    lesson.set_seed(seed)
    blind, recurrent = lesson.OrderBlindAoA, lesson.AttentionOverAttention
    assert 0.35 < right(blind(32, 32)) < 0.65
    assert right(lesson.WithPositions(blind(32, 32), 32, dropout=0.0)) > 0.95
    assert right(recurrent(32, 32, dropout=0.0)) > 0.95
    assert right(lesson.WithPositions(recurrent(32, 32, dropout=0.0), 32, dropout=0.0)) > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positions_not_seen_in_training_are_misread(seed):
    """Lo que dice la solución de 3b: con diez palabras delante acierta menos que con doce."""
    lesson.set_seed(seed)
    layer = lesson.WithPositions(lesson.OrderBlindAoA(32, 32), 32, dropout=0.0)
    reader = lesson.train_reader(lesson.ClozeReader(layer), *lesson.make_races(2000, 1))
    documents, questions, answers = lesson.make_races(500, 2)
    right = [
        lesson.accuracy(
            reader,
            torch.nn.functional.pad(documents, (count, 0), value=lesson.WORD_ID["ayer"]),
            questions,
            answers,
        )
        for count in (0, 10, 12)
    ]
    assert right[0] > 0.95
    assert right[1] < 0.45
    assert right[2] > right[1] + 0.1
