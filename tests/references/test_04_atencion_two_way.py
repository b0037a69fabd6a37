"""`WordByWordAttention`, `TwoWayAttention` y los datos de la lección, y los defectos conocidos."""

import itertools
import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.notebooks import load

lesson = load("04_atencion_two_way")
few_examples = settings(max_examples=50, deadline=None)
SIZES = {"B": st.integers(1, 4), "S": st.integers(1, 6), "T": st.integers(1, 5)}


def random_case(B, S, T, seed, minimum=1):
    """Vectores y máscaras al azar, en precisión doble, con el relleno al final."""
    generator = torch.Generator().manual_seed(seed)
    vectors, masks = [], []
    for size in (S, T):
        vectors.append(torch.randn(B, size, 6, generator=generator, dtype=torch.double))
        lengths = torch.randint(minimum, size + 1, (B, 1), generator=generator)
        masks.append(torch.arange(size) < lengths)
    return *vectors, *masks


def word_by_word(seed):
    torch.manual_seed(seed)
    return lesson.WordByWordAttention(6).double()


def summary(seed, **options):
    torch.manual_seed(seed)
    return lesson.TwoWayAttention(6, **options).double().eval()


def only_output(found):
    return found[0] if isinstance(found, tuple) else found


def paper(layer, premise, hypothesis):
    """La sección 2.4 del artículo, con bucles: `[S, H]` y `[N, H]` → h* `[H]` y α `[N, S]`."""
    W = {name: value.detach() for name, value in layer.state_dict().items()}
    r, rows = torch.zeros(6, dtype=torch.double), []
    for h in hypothesis:
        M = [
            torch.tanh(W["W_y.weight"] @ y + W["W_h.weight"] @ h + W["W_r.weight"] @ r)
            for y in premise
        ]
        scores = [(W["w.weight"][0] @ m).item() for m in M]
        total = sum(math.exp(score) for score in scores)
        rows.append([math.exp(score) / total for score in scores])
        mixed = sum(a * y for a, y in zip(rows[-1], premise, strict=True))
        r = mixed + torch.tanh(W["W_t.weight"] @ r)
    h_star = torch.tanh(W["W_p.weight"] @ r + W["W_x.weight"] @ hypothesis[-1])
    return h_star, torch.tensor(rows, dtype=torch.double)


# --- Igual que el artículo ------------------------------------------------------------------------


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_word_by_word_equals_the_paper_example_by_example(B, S, T, seed):
    layer = word_by_word(seed)
    premise, hypothesis, premise_mask, hypothesis_mask = random_case(B, S, T, seed)
    h_star, maps = layer(premise, hypothesis, premise_mask, hypothesis_mask)
    for b in range(B):
        n, m = int(premise_mask[b].sum()), int(hypothesis_mask[b].sum())
        expected, rows = paper(layer, premise[b, :n], hypothesis[b, :m])
        torch.testing.assert_close(h_star[b], expected)
        torch.testing.assert_close(maps[b, :m, :n], rows)
        assert maps[b, m:].abs().sum() == 0
        assert maps[b, :, n:].abs().sum() == 0


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_summary_equals_the_formula_example_by_example(B, S, T, seed):
    layer = summary(seed)
    source, target, source_mask, target_mask = random_case(B, S, T, seed)
    found = layer(source, target, source_mask, target_mask)
    for b in range(B):
        x, y = source[b][source_mask[b]], target[b][target_mask[b]]
        from_source, from_target = layer.source_query(x.mean(0)), layer.target_query(y.mean(0))
        pair = [(y @ from_source).softmax(0) @ y, (x @ from_target).softmax(0) @ x]
        logits = layer.output(torch.relu(layer.hidden(torch.cat(pair))))
        torch.testing.assert_close(found[b], logits.log_softmax(0))


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_maps_are_distributions_or_zero(B, S, T, seed):
    inputs = random_case(B, S, T, seed, minimum=0)
    _, maps = word_by_word(seed)(*inputs)
    premise_mask, hypothesis_mask = inputs[2:]
    something = (premise_mask.any(1, keepdim=True) & hypothesis_mask).double()
    torch.testing.assert_close(maps.sum(-1), something)
    assert (maps >= 0).all()


def test_premise_is_projected_once():
    layer, calls = word_by_word(0), []
    layer.W_y.register_forward_hook(lambda *_: calls.append(1))
    layer(*random_case(2, 5, 4, 0))
    assert len(calls) == 1


@pytest.mark.parametrize("make", [lambda: word_by_word(0), lambda: summary(0)])
def test_every_parameter_receives_a_gradient(make):
    layer = make()
    inputs = random_case(8, 5, 4, 1)
    only_output(layer(*inputs)).select(1, 0).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())


def test_two_way_uses_the_same_parameters_in_both_directions():
    torch.manual_seed(0)
    reader = lesson.ConditionalReader(
        lesson.WordByWordAttention(8), len(lesson.VOCAB), two_way=True, hidden_dim=8
    ).eval()
    premises, hypotheses, _ = lesson.make_pairs(2, 0)
    one, other = reader.read(premises, hypotheses)[0], reader.read(hypotheses, premises)[0]
    expected = reader.output(torch.cat([one, other], dim=1)).log_softmax(-1)
    torch.testing.assert_close(reader(premises, hypotheses), expected)
    names = [name for name, _ in reader.named_parameters()]
    assert sum(name.endswith("W_y.weight") for name in names) == 1


def test_hypothesis_is_read_from_the_last_state_of_the_premise():
    torch.manual_seed(0)
    reader = lesson.ConditionalReader(None, len(lesson.VOCAB), hidden_dim=8).eval()
    premise, hypothesis = torch.tensor([[3, 5, 9, 0, 0]]), torch.tensor([[1, 6, 10, 0]])
    _, state = reader.premise_lstm(reader.word(premise[:, :3]))
    out, _ = reader.hypothesis_lstm(reader.word(hypothesis[:, :3]), state)
    torch.testing.assert_close(reader.read(premise, hypothesis)[0], out[:, -1])


# --- Los defectos de la implementación de partida, uno por prueba ---------------------------------


@few_examples
@given(**SIZES, value=st.sampled_from([math.nan, math.inf, 1e3]), seed=st.integers(0, 10_000))
def test_nothing_in_the_padding_leaks(B, S, T, value, seed):
    """El defecto: la media multiplicaba por la máscara, y 0 por nan es nan."""
    *vectors, premise_mask, hypothesis_mask = random_case(B, S, T, seed)
    masks = premise_mask, hypothesis_mask
    for layer in (word_by_word(seed), summary(seed)):
        expected = only_output(layer(*vectors, *masks))
        dirty = [
            x.masked_fill(~m[..., None], value).requires_grad_()
            for x, m in zip(vectors, masks, strict=True)
        ]
        found = only_output(layer(*dirty, *masks))
        assert torch.equal(found, expected)
        found.pow(2).sum().backward()
        for x, m in zip(dirty, masks, strict=True):
            assert x.grad.isfinite().all()
            assert x.grad[~m].abs().sum() == 0


def test_the_seed_pooling_leaks():
    """La capa de la caza del error reproduce el defecto."""
    torch.manual_seed(0)
    layer = lesson.MultipliesByMask(6).eval()
    source, target = torch.randn(3, 5, 6), torch.randn(3, 4, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    assert layer(source, target, mask).isfinite().all()
    found = layer(source.masked_fill(~mask[..., None], math.nan), target, mask)
    assert found.isnan().any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("make", [lambda: word_by_word(0), lambda: summary(0)])
def test_a_masked_source_does_not_move_the_output(make):
    """El defecto: con toda la fuente tapada, la softmax era uniforme y la salida cambiaba."""
    layer = make()
    source, target, _, target_mask = random_case(3, 5, 4, 0)
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    other = torch.randn(3, 5, 6, dtype=torch.double) * 100
    first, second = (only_output(layer(x, target, nothing, target_mask)) for x in (source, other))
    assert torch.equal(first, second)
    assert first.isfinite().all()


@pytest.mark.parametrize("make", [lambda: word_by_word(0), lambda: summary(0)])
def test_half_precision(make):
    """El defecto: −1e10 no cabe en 16 bits."""
    layer = make()
    *vectors, source_mask, target_mask = random_case(3, 5, 4, 0)
    expected = only_output(layer(*vectors, source_mask, target_mask))
    found = only_output(layer.half()(*(x.half() for x in vectors), source_mask, target_mask))
    assert found.dtype == torch.half
    torch.testing.assert_close(found.double(), expected, atol=0.03, rtol=0)


def test_the_summary_is_blind_to_order_and_word_by_word_is_not():
    source, target, *_ = random_case(2, 5, 4, 0)
    order = torch.tensor([3, 0, 2, 1])
    layer = summary(0)
    torch.testing.assert_close(layer(source, target[:, order]), layer(source, target))
    layer = word_by_word(0)
    assert (layer(source, target[:, order])[0] - layer(source, target)[0]).abs().max() > 1e-3


def test_dropout_acts_only_while_training():
    layer = lesson.TwoWayAttention(6, dropout=0.5)
    source, target = torch.randn(2, 5, 6), torch.randn(2, 4, 6)
    assert not torch.equal(layer(source, target), layer(source, target))
    layer.eval()
    assert torch.equal(layer(source, target), layer(source, target))


@pytest.mark.parametrize("kind", [torch.long, torch.float, torch.uint8])
def test_masks_of_any_type(kind):
    *vectors, source_mask, target_mask = random_case(3, 5, 4, 0)
    layer = summary(0)
    torch.testing.assert_close(
        layer(*vectors, source_mask.to(kind), target_mask.to(kind)),
        layer(*vectors, source_mask, target_mask),
    )


@pytest.mark.parametrize("shape", [(5, 3), (3,), (3, 4)])
def test_impossible_masks_are_clear_errors(shape):
    for layer in (lesson.WordByWordAttention(6), lesson.TwoWayAttention(6)):
        with pytest.raises(ValueError, match="La máscara debería ser"):
            layer(torch.randn(3, 5, 6), torch.randn(3, 4, 6), torch.ones(shape))


@pytest.mark.parametrize("classes", [2, 5])
def test_log_probabilities_of_each_class(classes):
    found = lesson.TwoWayAttention(6, classes)(torch.randn(3, 5, 6), torch.randn(3, 4, 6))
    assert tuple(found.shape) == (3, classes)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3))


# --- La regla, contra todos los mundos ------------------------------------------------------------


def test_rule_agrees_with_every_world_for_premises_of_three_facts():
    """Premisas de hasta tres frases compatibles, con un verbo: ningún desacuerdo."""
    worlds = lesson.all_worlds()
    facts = [(form, noun, "come") for form in lesson.FORMS for noun in lesson.WORLD_SPECIES]
    truth = torch.stack([lesson.true_in(worlds, *fact[:2]) for fact in facts])
    for chosen in itertools.combinations_with_replacement(range(len(facts)), 3):
        possible = truth[list(chosen)].all(0)
        if not possible.any():
            continue
        holds = truth[:, possible]
        right = torch.where(holds.all(1), 0, torch.where(holds.any(1), 2, 1)).tolist()
        premise = [facts[i] for i in chosen]
        assert [lesson.label(premise, fact) for fact in facts] == right


def test_other_verbs_say_nothing():
    for form, other in itertools.product(lesson.FORMS, repeat=2):
        assert lesson.label([(form, "gato", "come")], (other, "gato", "corre")) == 2


def test_worlds_are_all_different_and_have_someone_of_each_species():
    worlds = lesson.all_worlds()
    assert len({tuple(world.flatten().tolist()) for world in worlds}) == 3**6
    assert worlds.any(2).all()


# --- Los datos ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reserved", [False, True])
def test_squares_are_latin(reserved):
    rng = random.Random(0)
    for _ in range(100):
        square = lesson.random_square(rng, reserved)
        answers = [[answer for *_, answer in square[3 * i : 3 * i + 3]] for i in range(3)]
        assert all(sorted(line) == [0, 1, 2] for line in [*answers, *zip(*answers, strict=True)])
        for i in range(3):
            assert [h for _, h, _ in square[3 * i : 3 * i + 3]] == [h for _, h, _ in square[:3]]
            assert all(premise == square[3 * i][0] for premise, *_ in square[3 * i : 3 * i + 3])
        for premise, hypothesis, _ in square:
            kinds = [lesson.KIND_OF.get(noun, noun) for _, noun, _ in premise]
            assert sorted(kinds) == sorted(lesson.KINDS)
            assert lesson.held_out(*hypothesis[1:]) == reserved
            if not reserved:
                assert not any(lesson.held_out(*fact[1:]) for fact in premise)


def test_every_noun_has_reserved_and_free_verbs():
    for noun in lesson.NOUNS:
        reserved = [lesson.held_out(noun, verb) for verb in lesson.VERBS]
        assert not all(reserved)
    for kind, names in lesson.KINDS.items():
        assert any(lesson.held_out(n, v) for n in [kind, *names] for v in lesson.VERBS)


def test_data_are_deterministic_and_use_the_vocabulary():
    first, again, other = (lesson.make_pairs(30, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert len(set(lesson.VOCAB)) == len(lesson.VOCAB)
    assert torch.equal(first[2].bincount(), torch.full((3,), 90))
    for fact in ([form, "gato", "come"] for form in lesson.FORMS):
        assert set(lesson.words_of(fact)) <= set(lesson.VOCAB)


# --- Los experimentos, con tres semillas ----------------------------------------------------------


@pytest.fixture(scope="module")
def pairs():
    return lesson.make_pairs(3000, 1), lesson.make_pairs(120, 2, reserved=True)


def reached(pairs, name, steps, seed):
    train, test = pairs
    return lesson.accuracy(lesson.train(name, train, steps, seed)[0], *test)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_summary_reader_learns_the_task(pairs, seed):
    assert reached(pairs, "que resume", 300, seed) > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_order_it_does_not(pairs, seed):
    assert reached(pairs, "bolsa de palabras", 300, seed) < 0.7


@pytest.mark.parametrize("which", [0, 1])
def test_one_sentence_alone_says_nothing(pairs, which):
    """Con una LSTM y el doble de pasos que en el cuaderno, al azar."""
    hidden = [lesson.hide(data, which) for data in pairs]
    assert 0.25 < reached(hidden, "que resume", 200, 1) < 0.42
