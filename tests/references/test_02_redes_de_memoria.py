"""`MemoryNetwork` y las historias de la lección: el artículo, y sin los defectos conocidos."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from autograder.notebooks import load

lesson = load("02_redes_de_memoria")
few_examples = settings(max_examples=40, deadline=None)
V, D = 9, 5
SIZES = {"B": st.integers(1, 3), "N": st.integers(1, 5), "L": st.integers(1, 4)}
TYINGS = ["adjacent", "layerwise"]


def network(seed=0, **options):
    torch.manual_seed(seed)
    model = lesson.MemoryNetwork(V, D, **{"max_memories": 12, **options}).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def random_stories(B, N, L, seed):
    """Historias y preguntas con relleno al final de las frases y de la historia."""
    generator = torch.Generator().manual_seed(seed)
    sentences = torch.randint(1, V, (B, N, L), generator=generator)
    words = torch.randint(1, L + 1, (B, N, 1), generator=generator)
    count = torch.randint(0, N + 1, (B, 1, 1), generator=generator)
    sentences = sentences * (torch.arange(L) < words) * (torch.arange(N)[:, None] < count)
    return sentences, torch.randint(1, V, (B, 3), generator=generator)


def sentence_vector(table, words, position):
    """Una frase sin relleno, palabra a palabra y canal a canal."""
    J, d = len(words), table.size(1)
    vector = torch.zeros(d, dtype=table.dtype)
    for j, word in enumerate(words, start=1):
        for k in range(1, d + 1):
            weight = (1 - j / J) - k / d * (1 - 2 * j / J) if position else 1.0
            vector[k - 1] += weight * table[word, k - 1]
    return vector


def formula(model, story, question):
    """Las ecuaciones del artículo, con bucles: log-probs `[V]` y pesos de cada salto."""
    words = [table.weight for table in model.words]
    times = [table.weight for table in model.times] if model.temporal else None
    first = words[0] if model.adjacent else model.question_words.weight
    u = sentence_vector(first, question, model.position)
    weights = []
    for k in range(model.hops):
        keys, values = [], []
        for side, place in (
            (keys, k if model.adjacent else 0),
            (values, k + 1 if model.adjacent else 1),
        ):
            for i, sentence in enumerate(story):
                vector = sentence_vector(words[place], sentence, model.position)
                side.append(vector + times[place][len(story) - i] if times else vector)
        o = torch.zeros_like(u)
        if story:
            scores = torch.stack([key @ u for key in keys])
            p = scores if model.linear else scores.softmax(0)
            o = sum(weight * value for weight, value in zip(p, values, strict=True))
            weights.append(p)
        u = (u if model.adjacent else model.carry.weight @ u) + o
    answer = words[-1] if model.adjacent else model.answer.weight
    return (answer @ u).log_softmax(0), weights


# --- Igual que el artículo ------------------------------------------------------------------------


@few_examples
@given(
    **SIZES,
    hops=st.integers(1, 3),
    tying=st.sampled_from(TYINGS),
    position=st.booleans(),
    temporal=st.booleans(),
    linear=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_equals_the_paper_story_by_story(B, N, L, hops, tying, position, temporal, linear, seed):
    model = network(seed, hops=hops, tying=tying, position=position, temporal=temporal)
    model.linear = linear
    sentences, questions = random_stories(B, N, L, seed)
    log_probs, weights = model.trace(sentences, questions)
    assert tuple(weights.shape) == (B, hops, N)
    for b in range(B):
        story = [[w for w in row if w] for row in sentences[b].tolist() if any(row)]
        expected, expected_weights = formula(model, story, questions[b].tolist())
        torch.testing.assert_close(log_probs[b], expected)
        assert weights[b, :, len(story) :].abs().sum() == 0
        if story:
            torch.testing.assert_close(weights[b, :, : len(story)], torch.stack(expected_weights))


@few_examples
@given(**SIZES, tying=st.sampled_from(TYINGS), seed=st.integers(0, 10_000))
def test_padding_of_any_axis_does_not_move_the_answer(B, N, L, tying, seed):
    """El defecto: la media contaba el relleno, y cuatro columnas más movían la respuesta."""
    model = network(seed, tying=tying)
    sentences, questions = random_stories(B, N, L, seed)
    wider = F.pad(sentences, (0, 4, 0, 3)), F.pad(questions, (0, 4))
    torch.testing.assert_close(model(*wider), model(sentences, questions))


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_weights_sum_to_one_where_there_is_a_story(B, N, L, seed):
    sentences, questions = random_stories(B, N, L, seed)
    log_probs, weights = network(seed).trace(sentences, questions)
    something = (sentences != 0).any(-1).any(-1).double()
    torch.testing.assert_close(weights.sum(2), something[:, None].expand(-1, 3))
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(B, dtype=torch.double))


def test_batch_and_alone_are_the_same():
    model = network()
    sentences, questions = random_stories(3, 5, 4, 1)
    together = model(sentences, questions)
    for b in range(3):
        torch.testing.assert_close(
            model(sentences[b : b + 1], questions[b : b + 1])[0], together[b]
        )


# --- Los defectos de la implementación de partida, uno por prueba ---------------------------------


def test_masked_sentences_do_not_leak_even_when_all_are():
    model = network()
    sentences, questions = torch.randint(1, V, (2, 4, 3)), torch.randint(1, V, (2, 3))
    mask = torch.tensor([[True, False, True, False], [False] * 4])
    rewritten = torch.where(mask[..., None], sentences, torch.randint(1, V, sentences.shape))
    answer, weights = model.trace(sentences, questions, mask)
    assert torch.equal(answer, model(rewritten, questions, mask))
    assert weights[~mask[:, None].expand_as(weights)].abs().sum() == 0
    expected, _ = formula(model, [], questions[1].tolist())
    torch.testing.assert_close(answer[1], expected)


def test_the_age_counts_only_the_visible_sentences():
    model = network()
    mask = torch.tensor([[True, False, True, True], [True, True, False, False]])
    assert model.ages(mask).tolist() == [[3, 0, 2, 1], [2, 1, 0, 0]]


def test_the_gradients_are_finite_with_an_empty_story():
    model = network().train()
    sentences, questions = torch.randint(1, V, (2, 3, 3)), torch.randint(1, V, (2, 3))
    sentences[1] = 0
    model(sentences, questions)[:, 0].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_non_contiguous_inputs_work():
    model = network()
    sentences, questions = random_stories(3, 5, 4, 1)
    strided = sentences.transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    assert torch.equal(model(strided, questions.T.contiguous().T), model(sentences, questions))


@pytest.mark.parametrize("axis", [1, 2])
def test_order_is_seen_and_only_with_its_encoding(axis):
    sentences, questions = torch.randint(1, V, (2, 4, 3)), torch.randint(1, V, (2, 3))
    moved = sentences.flip(axis)
    seeing, blind = network(), network(position=False, temporal=False)
    assert (seeing(sentences, questions) - seeing(moved, questions)).abs().max() > 1e-3
    torch.testing.assert_close(blind(sentences, questions), blind(moved, questions))


def test_every_sentence_is_read_once_whatever_the_hops(monkeypatch):
    calls = []
    count_words = lesson.count_words
    monkeypatch.setattr(lesson, "count_words", lambda *a: calls.append(a) or count_words(*a))
    for hops in (1, 5):
        calls.clear()
        network(hops=hops)(*random_stories(2, 4, 3, 0))
        assert len(calls) == 4  # dos cuentas de la historia y dos de la pregunta


def test_the_state_keeps_its_sign():
    """El defecto: una ReLU anulaba la mayoría del estado."""
    model = network()
    u = torch.randn(2, D, dtype=torch.double)
    torch.testing.assert_close(model.update(u, torch.zeros_like(u)), u)


def test_weights_are_the_tied_ones():
    parameters = {
        tying: sum(p.numel() for p in network(hops=3, tying=tying).parameters()) for tying in TYINGS
    }
    assert parameters["adjacent"] == 4 * D * (V + 13)
    assert parameters["layerwise"] == 2 * D * (V + 13) + 2 * V * D + D * D


# --- Opciones -------------------------------------------------------------------------------------


def test_impossible_options_are_clear_errors():
    with pytest.raises(ValueError, match="tying"):
        lesson.MemoryNetwork(V, D, tying="otra")
    with pytest.raises(ValueError, match="hops=0"):
        lesson.MemoryNetwork(V, D, hops=0)
    with pytest.raises(ValueError, match="no caben"):
        network(max_memories=3)(*random_stories(1, 4, 2, 0))


def test_time_noise_makes_gaps_only_while_training():
    model = network(time_noise=0.5, max_memories=50)
    mask = torch.ones(200, 6).bool()
    plain = torch.arange(6, 0, -1).expand(200, -1)
    assert torch.equal(model.ages(mask), plain)
    model.train()
    ages = model.ages(mask)
    assert (ages >= plain).all()
    assert (ages[:, :-1] > ages[:, 1:]).all()
    assert 0.4 < (ages[:, -1] - 1).double().mean() < 0.6
    model.max_memories = 6
    assert model.ages(mask).max() == 6


def test_dropout_acts_only_while_training():
    model = network(dropout=0.5).train()
    inputs = random_stories(2, 4, 3, 1)
    assert not torch.equal(model(*inputs), model(*inputs))
    model.eval()
    assert torch.equal(model(*inputs), model(*inputs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.half, torch.float])
def test_other_precisions_with_a_mask(dtype):
    model, inputs = network(), random_stories(2, 4, 3, 1)
    mask = torch.tensor([[True, True, False, True], [False] * 4])
    expected = model(*inputs, mask)
    found = model.to(dtype)(*inputs, mask)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=0.2, rtol=0.1)


def test_moves_with_the_module():
    model = network().to("meta")
    sentences, questions = (tensor.to("meta") for tensor in random_stories(2, 4, 3, 1))
    assert model(sentences, questions).is_meta


def test_what_the_padding_mean_gets_wrong():
    model = lesson.PaddedMean(V, D, position=False).eval()
    sentences, questions = random_stories(2, 4, 3, 1)
    wider = F.pad(sentences, (0, 5)), F.pad(questions, (0, 5))
    assert (model(sentences, questions) - model(*wider)).abs().max() > 1e-4


def test_controls_change_one_thing():
    sentences, questions = torch.randint(1, V, (2, 4, 3)), torch.randint(1, V, (2, 3))
    uniform = lesson.UniformAttention(V, D).trace(sentences, questions)[1]
    torch.testing.assert_close(uniform, torch.full((2, 3, 4), 0.25))
    fixed = lesson.FixedQuery(V, D, tying="adjacent").eval()
    state = fixed.embed(fixed.read(questions), fixed.words[0])
    keys = fixed.memories(sentences, torch.ones(2, 4).bool())
    for hop, weights in enumerate(fixed.trace(sentences, questions)[1].unbind(1)):
        expected = (keys[hop] @ state[..., None]).squeeze(-1).softmax(-1)
        torch.testing.assert_close(weights, expected)


# --- Las historias --------------------------------------------------------------------------------


def simulate(sentences, task, question):
    """La respuesta a una pregunta, simulando la historia aparte."""
    where, holder, path = {}, {}, {}
    for sentence in sentences:
        person, verb, *_, last = sentence.split()
        if verb in lesson.MOVES:
            where[person] = last
            for thing, owner in holder.items():
                if owner == person:
                    path[thing].append(last)
        elif verb in lesson.TAKES:
            holder[last] = person
            if path.setdefault(last, [where[person]])[-1] != where[person]:
                raise AssertionError(f"{last} no estaba ahí")
        else:
            assert holder.pop(last) == person
    words = question.split()
    if task == 1:
        return where[words[-1]]
    return path[words[3]][-2 if task == 3 else -1]


@pytest.mark.parametrize("task", [1, 2, 3])
def test_answers_are_right_and_facts_suffice(task):
    rng = random.Random(task)
    for _ in range(300):
        story, question, answer, facts = lesson.random_story(rng, task)
        low, high = lesson.LENGTHS[task]
        assert low <= len(story) <= high
        assert simulate(story, task, question) == answer
        assert len(facts) == task
        told = " ".join(story[i] for i in sorted(facts)).split()
        assert answer in told
        if task == 3:
            assert question.split()[-1] in told


@pytest.mark.parametrize("task", [1, 2, 3])
def test_stories_are_deterministic_and_the_question_decides(task):
    first, again, other = (lesson.make_stories(task, 200, seed=s) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    sentences, questions, answers, facts = first
    assert tuple(sentences.shape) == (200, 10, 5)
    assert tuple(questions.shape) == (200, 8)
    assert (facts.sum(1) == task).all()
    assert not (facts & ~(sentences != 0).any(-1)).any()
    majority = answers.bincount().max() / len(answers)
    assert majority < 0.3


def test_every_word_is_in_the_vocabulary_once():
    assert len(set(lesson.VOCAB)) == len(lesson.VOCAB)


def test_left_and_gone_finds_the_trips_after_leaving():
    story = ["Ana fue a la plaza", "Ana tomó el pan", "Ana dejó el pan"]
    gone = [*story, "Ana fue a la playa"]
    stays = [*story, "Luis fue a la playa"]
    sentences = torch.tensor([lesson.to_ids(s, 5) for s in (gone, stays)])
    facts = torch.tensor([[True, False, True, False]] * 2)
    assert lesson.left_and_gone(sentences, facts).tolist() == [True, False]


# --- El entrenamiento, con tres semillas ----------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    train = [lesson.make_stories(task, 3000, seed=1) for task in (1, 2, 3)]
    test = [lesson.make_stories(task, 1000, seed=2) for task in (1, 2, 3)]
    return [torch.cat(tensors) for tensors in zip(*train, strict=True)], test


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_fact_at_most_two_percent_of_error_and_attention_on_the_facts(data, seed):
    joint, test = data
    lesson.set_seed(seed)
    model = lesson.MemoryNetwork(lesson.VOCAB_SIZE, 32, dropout=0.0)
    lesson.train(model, joint, "")
    errors = [lesson.error_rate(model, stories) for stories in test]
    assert errors[0] <= 0.02
    assert max(errors) < 0.1
    assert all(min(lesson.support_rate(model, stories)) > 0.75 for stories in test)
    with torch.no_grad():  # el defecto: una atención casi uniforme
        assert model.trace(*test[0][:2])[1].amax(2).mean() > 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_layerwise_learns_one_fact(data, seed):
    lesson.set_seed(seed)
    model = lesson.MemoryNetwork(lesson.VOCAB_SIZE, 32, dropout=0.0, tying="layerwise")
    lesson.train(model, data[0], "")
    assert lesson.error_rate(model, data[1][0]) <= 0.05
