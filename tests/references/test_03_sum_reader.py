"""`SumReader` y los experimentos de la lección: el artículo, y sin los defectos conocidos."""

import random
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.notebooks import load

lesson = load("03_sum_reader")
few_examples = settings(max_examples=40, deadline=None)
SIZES = {"B": st.integers(1, 4), "T": st.integers(1, 7), "Q": st.integers(1, 5)}
V, E, H = 9, 5, 3


def random_case(B, T, Q, seed, minimum=1):
    """Documentos, preguntas y longitudes al azar; también hay palabras en el relleno."""
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(1, V, (B, size), generator=generator) for size in (T, Q)]
    lengths = [torch.randint(minimum, size + 1, (B,), generator=generator) for size in (T, Q)]
    return *ids, *lengths


def random_reader(seed, reader_class=lesson.SumReader):
    torch.manual_seed(seed)
    return reader_class(V, E, H).double().eval()


# --- Igual que el artículo ------------------------------------------------------------------------


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_equals_the_paper_example_by_example(B, T, Q, seed):
    reader = random_reader(seed)
    document, question, *lengths = random_case(B, T, Q, seed)
    probabilities = reader(document, question, *lengths).exp()
    assert tuple(probabilities.shape) == (B, V)
    for b, (n, m) in enumerate(zip(*(length.tolist() for length in lengths), strict=True)):
        f = reader.document_gru(reader.embedding(document[b, :n]))[0]
        q = reader.question_gru(reader.embedding(question[b, :m]))[0]
        weights = (f @ torch.cat([q[-1, :H], q[0, H:]])).softmax(0).tolist()
        words = document[b, :n].tolist()
        for word in range(V):
            P = sum(s for s, other in zip(weights, words, strict=True) if other == word)
            assert probabilities[b, word].item() == pytest.approx(P, abs=1e-9)


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_padding_does_not_matter_and_an_example_alone_is_the_same(B, T, Q, seed):
    reader = random_reader(seed)
    document, question, *lengths = random_case(B, T, Q, seed)
    noisy = [
        torch.where(torch.arange(ids.size(1)) < n[:, None], ids, torch.randint(0, V, ids.shape))
        for ids, n in zip((document, question), lengths, strict=True)
    ]
    found = reader(document, question, *lengths).exp()
    assert torch.equal(found, reader(*noisy, *lengths).exp())
    n, m = (int(length[0]) for length in lengths)
    alone = reader(document[:1, :n], question[:1, :m], *(length[:1] for length in lengths))
    torch.testing.assert_close(alone.exp()[0], found[0])


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_only_words_of_the_document_and_they_sum_to_one(B, T, Q, seed):
    document, question, *lengths = random_case(B, T, Q, seed, minimum=0)
    found = random_reader(seed)(document, question, *lengths)
    for b, n in enumerate(lengths[0].tolist()):
        inside = torch.zeros(V, dtype=torch.bool)
        inside[document[b, :n]] = True
        assert torch.equal(found[b].isfinite(), inside)
        assert found[b].exp().sum().item() == pytest.approx(float(n > 0))


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_pointer_sum_equals_the_lesson(B, T, Q, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(B, T, generator=generator, dtype=torch.double)
    document, _, lengths, _ = random_case(B, T, Q, seed, minimum=0)
    mask = lesson.real_positions(document, lengths)
    weights = scores.masked_fill(~mask, -1e9).softmax(1) * mask
    expected = lesson.log_or_minus_infinity(lesson.sum_attention(weights, document, V))
    torch.testing.assert_close(lesson.pointer_sum(scores, document, mask, V), expected)


# --- Los defectos de la implementación de partida, uno por prueba ---------------------------------


def test_the_class_stands_alone():
    """El defecto: `forward` leía una variable global, `hidden_dim`."""
    assert not hasattr(lesson, "hidden_dim")
    document, question, *lengths = random_case(2, 6, 4, 0)
    assert random_reader(0)(document, question, *lengths).shape == (2, V)


def test_the_mask_reaches_the_attention():
    """El defecto: con dos palabras de diez, la mayor parte del peso iba al relleno."""
    document, question, *_ = random_case(1, 10, 4, 0)
    lengths = torch.tensor([2]), torch.tensor([4])
    wrong, right = (random_reader(0, c) for c in (lesson.NoMaskReader, lesson.SumReader))
    assert wrong.read(document, question, *lengths)[1][0, 2:].sum() > 0.5
    weights = right.read(document, question, *lengths)[1][0]
    assert weights[2:].abs().max() == 0
    assert weights.sum().item() == pytest.approx(1)


def test_both_halves_of_the_summary_see_the_whole_question():
    """El defecto: ←, tomada en la última palabra, no ve las anteriores."""
    question, lengths = torch.tensor([[1, 2, 3, 4], [5, 2, 3, 4]]), torch.tensor([4, 4])
    right, wrong = (
        random_reader(0, c).summarise(question, lengths)
        for c in (lesson.SumReader, lesson.LastTokenReader)
    )
    assert (right[0] - right[1]).abs()[:H].max() > 1e-3
    assert (right[0] - right[1]).abs()[H:].max() > 1e-3
    assert (wrong[0] - wrong[1]).abs()[H:].max() == 0


def test_the_padding_vector_is_zero():
    """El defecto: una inicialización sobrescribía la fila del relleno."""
    reader = lesson.SumReader(V, E, H)
    assert reader.embedding.weight[0].abs().max() == 0
    assert lesson.freeze_embedding(reader).embedding.weight[0].abs().max() == 0


def test_a_batch_shorter_than_its_tensor_keeps_the_shape():
    """Sin `total_length`, los estados se recortaban al documento más largo."""
    document, question, *_ = random_case(2, 10, 5, 0)
    lengths = torch.tensor([8, 3]), torch.tensor([2, 3])
    states, weights = random_reader(0).read(document, question, *lengths)
    assert tuple(states.shape) == (2, 10, 2 * H)
    assert tuple(weights.shape) == (2, 10)


def test_building_a_reader_warns_of_nothing():
    """El defecto: dropout en una GRU de una capa."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lesson.SumReader(V, E, H, dropout=0.3)


def test_dropout_acts_only_while_training():
    reader = lesson.SumReader(V, E, H, dropout=0.5)
    case = random_case(2, 6, 4, 0)
    assert not torch.equal(reader(*case).exp(), reader(*case).exp())
    reader.eval()
    assert torch.equal(reader(*case).exp(), reader(*case).exp())


def test_gradients_are_finite_with_absent_words_and_empty_documents():
    reader = random_reader(0)
    document, question, *_ = random_case(3, 6, 4, 0)
    log_probs = reader(document, question, torch.tensor([6, 0, 2]), torch.tensor([4, 4, 0]))
    torch.nn.functional.nll_loss(log_probs[[0, 2]], document[[0, 2], 0]).backward()
    assert all(p.grad.isfinite().all() for p in reader.parameters())
    assert log_probs[1].isinf().all()


def test_every_parameter_receives_a_gradient():
    reader = random_reader(0)
    document, question, *lengths = random_case(3, 6, 4, 0, minimum=3)
    reader(document, question, *lengths).gather(1, document[:, :1]).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in reader.parameters())


def test_attention_in_half_precision():
    attention = lesson.Attention(4)
    mask = torch.tensor([[True, True, False]])
    weights = attention(torch.randn(1, 4).half(), torch.randn(1, 3, 4).half(), mask)
    assert weights.dtype == torch.half
    assert weights[0, 2] == 0
    assert weights.sum().item() == pytest.approx(1, abs=2e-3)


def test_attention_without_mask_equals_a_mask_of_ones():
    attention, hidden, states = lesson.Attention(4), torch.randn(2, 4), torch.randn(2, 3, 4)
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(attention(hidden, states), attention(hidden, states, mask))


def test_attention_rejects_other_sizes():
    with pytest.raises(ValueError, match="deberían medir 4"):
        lesson.Attention(4)(torch.randn(2, 5), torch.randn(2, 3, 5))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([7, 1], "entre 0 y 6"), ([-1, 1], "entre 0 y 6"), ([3], "deben ser"), ([[3, 3]], "deben")],
)
def test_impossible_lengths_are_clear_errors(lengths, message):
    document, question, _, ques_lengths = random_case(2, 6, 4, 0)
    with pytest.raises(ValueError, match=message):
        random_reader(0)(document, question, torch.tensor(lengths), ques_lengths)


def test_sum_attention_needs_equal_shapes():
    with pytest.raises(ValueError, match="misma forma"):
        lesson.sum_attention(torch.rand(2, 3), torch.zeros(2, 4, dtype=torch.long), 5)


@pytest.mark.parametrize("reader_class", [lesson.GenerativeReader, lesson.TiedReader])
def test_generative_heads_answer_with_the_whole_vocabulary(reader_class):
    found = random_reader(0, reader_class)(*random_case(3, 6, 4, 0))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3, dtype=torch.double))
    assert found.isfinite().all()


# --- Los datos ------------------------------------------------------------------------------------


def test_four_names_equally_mentioned_and_one_right_answer():
    rng = random.Random(0)
    for _ in range(300):
        document, question, answer, (own, other) = lesson.random_story(
            rng, lesson.PEOPLE, lesson.CITIES
        )
        trips = [tuple(document[i : i + 3]) for i in range(0, len(document), 3)]
        names = [word for word in document if word != "visitó"]
        assert {names.count(name) for name in names} == {own + other}
        assert len(set(names)) == 4
        fits = [
            word
            for trip in trips
            for word, asked in zip(trip, question, strict=True)
            if asked == "___" and all(q in ("___", w) for w, q in zip(trip, question, strict=True))
        ]
        assert (fits.count(answer), len(fits)) == (own, own + other)
        assert own > other


def test_new_names_are_new_and_every_word_is_once_in_the_vocabulary():
    assert len(set(lesson.VOCAB)) == lesson.VOCAB_SIZE
    train, new = (
        lesson.make_stories(200, 1, *names)[0]
        for names in ((lesson.PEOPLE, lesson.CITIES), (lesson.NEW_PEOPLE, lesson.NEW_CITIES))
    )
    shared = {lesson.VOCAB[i] for i in set(train.flatten().tolist()) & set(new.flatten().tolist())}
    assert shared <= {"·", "visitó"}


def test_data_are_deterministic():
    names = lesson.PEOPLE, lesson.CITIES
    first, again, other = (lesson.make_stories(50, seed, *names) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])


# --- Los experimentos, con tres semillas ----------------------------------------------------------


@pytest.fixture(scope="module")
def stories():
    seen, new = (lesson.PEOPLE, lesson.CITIES), (lesson.NEW_PEOPLE, lesson.NEW_CITIES)
    return (
        lesson.make_stories(20000, 1, *seen),
        lesson.make_stories(1000, 2, *seen),
        lesson.make_stories(1000, 3, *new),
    )


def trained(reader_class, data, seed, steps):
    lesson.set_seed(seed)
    reader = lesson.freeze_embedding(reader_class(lesson.VOCAB_SIZE, 16, 48, dropout=0.0))
    batches = lesson.random_batches(data)
    lesson.fit(reader, batches, lesson.answer_loss, steps=steps, lr=0.03, label="")
    return reader


def duel(same_city):
    """Cuántas veces gana la rival, con tres viajes contra uno, a la ciudad preguntada o a otra."""
    rng, documents, questions, rivals = random.Random(0), [], [], []
    for _ in range(400):
        (p, q), (c, d) = rng.sample(lesson.PEOPLE, 2), rng.sample(lesson.CITIES, 2)
        trips = [(p, c)] + [(q, c if same_city else d)] * 3
        rng.shuffle(trips)
        documents.append([word for person, city in trips for word in (person, "visitó", city)])
        questions.append(["___", "visitó", c])
        rivals.append(lesson.WORD_ID[q])
    return lesson.to_ids(documents), lesson.to_ids(questions), torch.tensor(rivals)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_sum_names_new_words_and_counts_mentions(stories, seed):
    train, seen, new = stories
    reader = trained(lesson.SumReader, train, seed, steps=350)
    assert lesson.accuracy(reader, seen) >= 0.95
    assert lesson.accuracy(reader, new) > 0.8
    disputed = seen[3][:, 1] > 0
    by_sum, by_position = (
        f(reader, seen, disputed) for f in (lesson.accuracy, lesson.position_accuracy)
    )
    assert by_sum > by_position + 0.05
    agreed = (
        lesson.accuracy(reader, seen, ~disputed),
        lesson.position_accuracy(reader, seen, ~disputed),
    )
    assert abs(agreed[0] - agreed[1]) < 0.05
    # Lo que dice la solución de 03a: cuenta las menciones que encajan con la pregunta.
    assert lesson.accuracy(reader, duel(same_city=True)) > 0.75
    assert lesson.accuracy(reader, duel(same_city=False)) < 0.15


def test_the_generative_head_cannot_name_new_words(stories):
    train, seen, new = stories
    reader = trained(lesson.GenerativeReader, train, 1, steps=250)
    assert lesson.accuracy(reader, seen) > 0.3
    assert lesson.accuracy(reader, new) < 0.02
