"""BiDAF, su lector de archivos y sus datos: el artículo, y sin los defectos conocidos."""

import json
import os
import random
import subprocess
import sys
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from autograder.notebooks import load

lesson = load("09_bidaf")
few_examples = settings(max_examples=40, deadline=None)
SIZES = {"B": st.integers(1, 4), "T": st.integers(1, 7), "Q": st.integers(1, 5)}
OPTIONS = st.fixed_dictionaries(
    {
        "rnn": st.sampled_from(["gru", "lstm"]),
        "highway": st.booleans(),
        "modeling_layers": st.sampled_from([1, 2]),
    }
)
DATA = os.environ.get("ATENCION_DATOS", "")
needs_data = pytest.mark.skipif(not DATA, reason="sin ATENCION_DATOS")


def right_padded(generator, B, S):
    """Una máscara con al menos una palabra por fila y el relleno al final."""
    return torch.arange(S) < torch.randint(1, S + 1, (B,), generator=generator)[:, None]


def random_flow(seed, d=3):
    torch.manual_seed(seed)
    flow = lesson.AttentionFlow(d).double()
    for parameter in flow.parameters():
        nn.init.normal_(parameter)
    return flow


def random_case(B, T, Q, seed, d=3):
    """Vectores leídos y máscaras al azar, en precisión doble."""
    generator = torch.Generator().manual_seed(seed)
    masks = [right_padded(generator, B, S) for S in (T, Q)]
    vectors = [torch.randn(B, S, 2 * d, generator=generator, dtype=torch.double) for S in (T, Q)]
    return *vectors, *masks


def random_model(seed, **options):
    torch.manual_seed(seed)
    return lesson.BiDAF(5, 4, 3, 20, 11, **options).double().eval()


def random_inputs(B, T, Q, seed, L=4):
    """Palabras y letras al azar, con relleno al final, y sus máscaras."""
    generator = torch.Generator().manual_seed(seed)
    masks = [right_padded(generator, B, S) for S in (T, Q)]
    words = [torch.randint(1, 20, m.shape, generator=generator) * m for m in masks]
    chars = []
    for m in masks:
        lengths = torch.randint(1, L + 1, m.shape, generator=generator)
        letters = torch.randint(1, 11, (*m.shape, L), generator=generator)
        chars.append(letters * (torch.arange(L) < lengths[..., None]) * m[..., None])
    return [*words, *chars], masks


# --- Igual que el artículo ------------------------------------------------------------------------


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_flow_equals_the_paper_example_by_example(B, T, Q, seed):
    """El oráculo construye [c; q; c∘q] de cada pareja, sin relleno."""
    flow = random_flow(seed)
    C, J, context_mask, question_mask = random_case(B, T, Q, seed)
    G = flow(C, J, context_mask, question_mask)
    w = torch.cat([flow.W_c.weight, flow.W_q.weight, flow.W_cq.weight], dim=1)[0]
    for b in range(B):
        c, q = C[b, context_mask[b]], J[b, question_mask[b]]
        S = torch.stack([torch.stack([torch.cat([x, y, x * y]) @ w for y in q]) for x in c])
        u, h = S.softmax(1) @ q, S.amax(1).softmax(0) @ c
        torch.testing.assert_close(G[b, : len(c)], torch.cat([c, u, c * u, c * h], dim=1))
        assert G[b, len(c) :].abs().sum() == 0


def test_c2q_is_scaled_dot_product_attention():
    flow = random_flow(0)
    for layer, value in ((flow.W_c, 0.0), (flow.W_q, 0.0), (flow.W_cq, 1.0)):
        nn.init.constant_(layer.weight, value)
    C, Q, _, question_mask = random_case(3, 6, 4, 1)
    expected = F.scaled_dot_product_attention(C, Q, Q, attn_mask=question_mask[:, None], scale=1.0)
    torch.testing.assert_close(flow(C, Q, None, question_mask)[..., 6:12], expected)


@few_examples
@given(**SIZES, options=OPTIONS, seed=st.integers(0, 10_000))
def test_model_in_a_batch_equals_each_example_alone(B, T, Q, options, seed):
    """El bucle sin relleno: cada ejemplo, recortado, da lo mismo que en el lote."""
    model = random_model(seed, **options)
    inputs, (context_mask, question_mask) = random_inputs(B, T, Q, seed)
    together = model(*inputs)
    for b in range(B):
        n, m = int(context_mask[b].sum()), int(question_mask[b].sum())
        alone = model(*(x[b : b + 1, :size] for x, size in zip(inputs, (n, m, n, m), strict=True)))
        for batch, single in zip(together, alone, strict=True):
            torch.testing.assert_close(batch[b, :n], single[0])
            assert batch[b, n:].isneginf().all()


def test_output_layer_is_the_paper_one():
    torch.manual_seed(0)
    layer = lesson.OutputLayer(3).eval()
    G, M = torch.randn(2, 5, 24), torch.randn(2, 5, 6)
    start, end = layer(G, M)
    M2 = layer.rnn(M)[0]
    torch.testing.assert_close(start, layer.start(torch.cat([G, M], 2))[..., 0])
    torch.testing.assert_close(end, layer.end(torch.cat([G, M2], 2))[..., 0])


def test_lstm_and_highway_are_there_when_asked():
    model = random_model(0, rnn="lstm", highway=True)
    layers = [model.contextual, model.modeling_layer.rnn, model.output_layer.rnn]
    assert all(isinstance(layer, nn.LSTM) for layer in layers)
    x = torch.randn(4, 9, dtype=torch.double)
    expected = x
    for transform, gate in zip(model.highway.transforms, model.highway.gates, strict=True):
        t = gate(expected).sigmoid()
        expected = t * transform(expected).relu() + (1 - t) * expected
    torch.testing.assert_close(model.highway(x), expected)
    with pytest.raises(ValueError, match="gru"):
        lesson.BiDAF(5, 4, 3, 20, 11, rnn="rnn")


# --- Los defectos de la implementación de partida -------------------------------------------------


def test_pretrained_embeddings_are_kept_padding_row_included():
    matrix = torch.randn(20, 5)
    model = lesson.BiDAF(5, 4, 3, 20, 11, embedding_matrix=matrix)
    assert torch.equal(model.word_embedding.weight, matrix)
    model(torch.tensor([[3, 4, 0]]), torch.tensor([[5, 0]]))[0][0, :2].sum().backward()
    assert model.word_embedding.weight.grad[0].abs().sum() == 0
    with pytest.raises(ValueError, match="debería ser"):
        lesson.BiDAF(5, 4, 3, 20, 11, embedding_matrix=torch.randn(19, 5))


def test_padding_rows_start_at_zero():
    model = lesson.BiDAF(5, 4, 3, 20, 11)
    for embedding in (model.word_embedding, model.char_encoder.embedding):
        assert embedding.weight[0].abs().sum() == 0
        assert embedding.weight[1:].abs().sum(1).min() > 0


def test_characters_are_optional_but_both_or_none():
    model = random_model(0)
    inputs, _ = random_inputs(2, 5, 3, 0)
    start, _ = model(*inputs[:2])
    assert not start.isnan().any()
    with pytest.raises(ValueError, match="o ninguna"):
        model(*inputs[:3])


@few_examples
@given(**SIZES, seed=st.integers(0, 10_000))
def test_leak_one_and_two_what_stands_in_the_padding_of_c_and_q(B, T, Q, seed):
    """Caminos 1 y 2: C2Q por la pregunta y Q2C por el contexto. Ni siquiera un nan se cuela."""
    flow = random_flow(seed)
    C, J, context_mask, question_mask = random_case(B, T, Q, seed)
    expected = flow(C, J, context_mask, question_mask)
    for junk in (100.0, float("nan")):
        spoiled = [
            torch.where(m[..., None], x, torch.randn_like(x) * junk)
            for x, m in ((C, context_mask), (J, question_mask))
        ]
        assert torch.equal(flow(*spoiled, context_mask, question_mask), expected)


def test_leak_two_is_real_in_the_faulty_layer():
    """La capa de la caza del error pone peso en el relleno; la buena, no."""
    C, J, context_mask, question_mask = random_case(2, 6, 4, 3)
    context_mask[:, 3:] = False
    good, faulty = random_flow(0), lesson.UnmaskedFlow(3).double()
    faulty.load_state_dict(good.state_dict())
    S = good.similarity(C, J)
    padding = ~context_mask
    assert good.weights(S, context_mask, question_mask)[1][padding].sum() == 0
    assert faulty.weights(S, context_mask, question_mask)[1][padding].sum() > 0.01
    full = torch.ones_like(context_mask)
    for a, b in zip(
        good.weights(S, full, question_mask), faulty.weights(S, full, question_mask), strict=True
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_leak_three_the_recurrences_do_not_read_padding(kind):
    """Camino 3: la de vuelta empezaría por el relleno."""
    rnn = lesson.recurrent(kind, 4, 3, 2)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    x = torch.randn(2, 5, 4)
    noisy = torch.where(mask[..., None], x, torch.randn_like(x) * 100)
    out = lesson.encode_sequences(rnn, x, mask)
    assert torch.equal(lesson.encode_sequences(rnn, noisy, mask), out)
    torch.testing.assert_close(out[1, :2], rnn(x[1:, :2])[0][0])
    assert out[1, 2:].abs().sum() == 0
    with pytest.raises(ValueError, match="al final"):
        lesson.encode_sequences(rnn, x, ~mask | torch.tensor([True] + [False] * 4))


@few_examples
@given(extra=st.integers(0, 6), seed=st.integers(0, 10_000), options=OPTIONS)
def test_leak_four_more_padding_moves_no_score(extra, seed, options):
    """Camino 4: las palabras, las letras y la salida, con más columnas de relleno."""
    model = random_model(seed, **options)
    (context, query, context_char, query_char), _ = random_inputs(3, 5, 3, seed)
    before = model(context, query, context_char, query_char)
    after = model(
        F.pad(context, (0, extra)),
        F.pad(query, (0, extra)),
        F.pad(context_char, (0, extra, 0, extra)),
        F.pad(query_char, (0, extra, 0, extra)),
    )
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new[:, :5], old)
        assert new[:, 5:].isneginf().all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.float, torch.half, torch.long, torch.uint8])
def test_masks_of_any_type(dtype):
    C, J, *masks = random_case(3, 6, 4, 3)
    flow = random_flow(0)
    assert torch.equal(flow(C, J, *(m.to(dtype) for m in masks)), flow(C, J, *masks))
    G = flow(C, J, *masks)
    output = lesson.OutputLayer(3).double().eval()
    M = torch.randn(3, 6, 6, dtype=torch.double)
    for a, b in zip(output(G, M, masks[0].to(dtype)), output(G, M, masks[0]), strict=True):
        assert torch.equal(a, b)


def test_empty_sequences_and_wrong_masks_are_clear_errors():
    model = random_model(0)
    words = torch.tensor([[3, 4], [5, 0]])
    empty = torch.tensor([[3, 4], [0, 0]])
    with pytest.raises(ValueError, match=r"la pregunta de los ejemplos \[1\]"):
        model(words, empty)
    with pytest.raises(ValueError, match=r"el contexto de los ejemplos \[1\]"):
        model(empty, words)
    with pytest.raises(ValueError, match="al final"):
        model(words.flip(1), words)
    C, J, *_ = random_case(2, 3, 2, 0)
    with pytest.raises(ValueError, match="La máscara de la pregunta"):
        random_flow(0)(C, J, None, torch.ones(2, 3))
    with pytest.raises(ValueError, match="No hay ninguna palabra"):
        random_flow(0)(C, J, torch.zeros(2, 3), None)


def test_half_precision_is_finite():
    flow = lesson.AttentionFlow(3).to(torch.bfloat16)
    C, J, *masks = random_case(3, 6, 4, 3)
    G = flow(C.to(torch.bfloat16), J.to(torch.bfloat16), *masks)
    assert G.isfinite().all()


def dropped(layer, inputs, name):
    """Si el dropout `name` de una capa recibe datos al llamarla."""
    seen = []
    handle = getattr(layer, name).register_forward_hook(lambda *_: seen.append(1))
    layer(*inputs)
    handle.remove()
    return len(seen)


def test_dropout_is_before_every_recurrence_and_every_linear():
    """El de la capa de salida no se llamaba nunca. Antes de M² y de cada lineal: tres veces."""
    G, M = torch.randn(2, 5, 24), torch.randn(2, 5, 6)
    assert dropped(lesson.OutputLayer(3), (G, M), "dropout") == 3
    assert dropped(lesson.ModelingLayer(3), (G,), "dropout") == 1
    assert lesson.ModelingLayer(3, num_layers=2, dropout=0.4).rnn.dropout == 0.4
    model = lesson.BiDAF(5, 4, 3, 20, 11)
    words = torch.tensor([[3, 4]])
    assert dropped(model, (words, words), "dropout") == 2  # contexto y pregunta
    assert not torch.equal(model(words, words)[0], model(words, words)[0])


def test_one_layer_recurrence_gives_no_warning(recwarn):
    lesson.ModelingLayer(3, num_layers=1, dropout=0.5)
    assert not recwarn.list


def test_every_parameter_receives_a_gradient():
    model = random_model(0, highway=True).train()
    (context, query, context_char, query_char), _ = random_inputs(4, 6, 4, 0)
    batch = {
        "context": context,
        "query": query,
        "context_char": context_char,
        "query_char": query_char,
        "start": torch.zeros(4, dtype=torch.long),
        "end": torch.zeros(4, dtype=torch.long),
    }
    lesson.span_loss(model, batch).backward()
    missing = [n for n, p in model.named_parameters() if not p.grad.abs().sum() > 0]
    assert missing in ([], ["attention_flow.W_c.weight"])  # softmax: W_c se anula en C2Q


def test_similarity_does_not_build_the_pairs():
    """Ningún tensor intermedio tiene B·T·Q·2d números."""
    sizes = []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel())
            return out

    flow = lesson.AttentionFlow(10)
    with Spy():
        flow.similarity(torch.randn(2, 30, 20), torch.randn(2, 25, 20))
    assert max(sizes) == 2 * 30 * 25


# --- Las letras -----------------------------------------------------------------------------------


@few_examples
@given(extra=st.integers(0, 5), seed=st.integers(0, 10_000))
def test_character_cnn_ignores_padding_and_other_words(extra, seed):
    torch.manual_seed(seed)
    cnn = lesson.CharacterCNN(11, 4, 6)
    (_, _, chars, _), _ = random_inputs(2, 5, 3, seed)
    out = cnn(chars)
    torch.testing.assert_close(cnn(F.pad(chars, (0, extra))), out)
    assert out[chars.sum(2) == 0].abs().sum() == 0
    for b in range(2):
        for s in range(5):
            torch.testing.assert_close(cnn(chars[b : b + 1, s : s + 1])[0, 0], out[b, s])


# --- El lector de archivos ------------------------------------------------------------------------


@few_examples
@given(text=st.text(alphabet="aáñB ¿?¡!.,:;-3«»'\u0301\n", max_size=60))
def test_tokens_are_where_they_say(text):
    tokens, offsets = lesson.tokenize(text)
    assert [text[a:b] for a, b in offsets] == tokens
    assert all(a < b for a, b in offsets)
    ends = [0, *(b for _, b in offsets)]
    starts = [*(a for a, _ in offsets), len(text)]
    assert all(not text[a:b].strip() for a, b in zip(ends, starts, strict=True))  # solo blancos


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("¿Del río, al mar?", ["¿", "Del", "río", ",", "al", "mar", "?"]),
        (
            "1.200 casas y 3,5 a las 10:30.",
            ["1.200", "casas", "y", "3,5", "a", "las", "10:30", "."],
        ),
        ("teórico-práctico", ["teórico", "-", "práctico"]),
        ("«No», dijo O'Brien", ["«", "No", "»", ",", "dijo", "O'Brien"]),
        ("cancio\u0301n", ["cancio\u0301n"]),
    ],
)
def test_tokenizer(text, tokens):
    assert lesson.tokenize(text)[0] == tokens


def squad_file(folder, context, answers, question="¿Qué?"):
    qas = [{"id": "1", "question": question, "answers": answers}]
    data = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    path = folder / "squad.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("answers", "kind", "span"),
    [
        ([("la sierra", 15)], "exactas", (4, 5)),
        ([("la sierra", 13)], "recolocadas", (4, 5)),
        ([("la sierra", 40)], "recolocadas", (8, 9)),
        ([("la sierra", 999)], "recolocadas", (8, 9)),
        ([("", 0), ("nieva", 39)], "exactas", (10, 10)),
        ([("el mar", 0), ("río", 3)], "exactas", (1, 1)),
        ([("el mar", 3)], "descartadas", None),
        ([], "descartadas", None),
    ],
)
def test_wrong_offsets_are_searched_again_or_dropped(tmp_path, answers, kind, span):
    context = "El río nace en la sierra. En la sierra nieva."
    written = [{"text": text, "answer_start": start} for text, start in answers]
    counts = Counter()
    examples = lesson.read_squad(squad_file(tmp_path, context, written), counts)
    assert counts == {kind: 1}
    if span is None:
        assert examples == []
        return
    (example,) = examples
    assert (example.start, example.end) == span
    assert example.text(*span) in example.answers
    assert "" not in example.answers


def test_paragraphs_with_skipped_questions_are_not_read(tmp_path):
    path = squad_file(tmp_path, "Nieva.", [{"text": "Nieva", "answer_start": 0}])
    assert len(lesson.read_squad(path, skip={"2"})) == 1
    assert lesson.read_squad(path, skip={"1"}) == []


@needs_data
def test_xquad_is_read_whole():
    counts = Counter()
    examples = lesson.read_squad(os.path.join(DATA, "xquad.es.json"), counts)
    assert counts == {"exactas": 1190}
    whole = sum(e.text(e.start, e.end) == e.answers[0] for e in examples)
    assert whole >= 1185
    assert all(e.answers[0] in e.context for e in examples)


@needs_data
@pytest.mark.parametrize(("language", "em", "f1"), [("en", 0.0, 80.56606), ("es", 100.0, 100.0)])
def test_official_figures_on_xquad(language, em, f1):
    """Con «el » delante de cada respuesta: en inglés, lo que da el programa oficial."""
    examples = lesson.read_squad(os.path.join(DATA, "xquad.es.json"))
    for metric, wanted in ((lesson.exact_match, em), (lesson.f1_score, f1)):
        values = [metric(f"el {e.answers[0]}", e.answers, language) for e in examples]
        assert 100 * sum(values) / len(values) == pytest.approx(wanted, abs=1e-5)


# --- El tramo y las métricas ----------------------------------------------------------------------


@few_examples
@given(
    B=st.integers(1, 4),
    T=st.integers(1, 9),
    longest=st.integers(1, 10),
    seed=st.integers(0, 10_000),
)
def test_decode_span_is_the_best_allowed_span(B, T, longest, seed):
    generator = torch.Generator().manual_seed(seed)
    start, end = (torch.randn(B, T, generator=generator) for _ in range(2))
    mask = right_padded(generator, B, T)
    first, last = lesson.decode_span(start, end, mask, longest)
    for b in range(B):
        n = int(mask[b].sum())
        spans = [(s, e) for s in range(n) for e in range(s, min(s + longest, n))]
        found = int(first[b]), int(last[b])
        assert found in spans
        best = max((start[b, s] + end[b, e]).item() for s, e in spans)
        assert (start[b, found[0]] + end[b, found[1]]).item() == pytest.approx(best)


words = st.lists(st.sampled_from(["mar", "río", "el", "la", "sal", "a"]), max_size=6).map(" ".join)


@few_examples
@given(prediction=words, golds=st.lists(words, min_size=1, max_size=3))
def test_f1_is_between_em_and_one(prediction, golds):
    em, f1 = (metric(prediction, golds) for metric in (lesson.exact_match, lesson.f1_score))
    assert em in (0.0, 1.0)
    assert em <= f1 <= 1
    assert lesson.f1_score(prediction, [prediction]) == lesson.exact_match(prediction, [prediction])
    assert f1 == max(lesson.f1_score(prediction, [gold]) for gold in golds)
    assert f1 == pytest.approx(max(lesson.f1_score(gold, [prediction]) for gold in golds))


# --- Los datos ------------------------------------------------------------------------------------


def test_stories_name_three_people_and_the_question_decides():
    people = set(lesson.PEOPLE)
    positions = Counter()
    for example in lesson.make_stories(400, seed=0):
        named = [token for token in example.context_tokens if token in people]
        asked = [token for token in example.question_tokens if token in people]
        assert len(set(named)) == 3
        assert set(asked) == set(named)
        assert example.text(example.start, example.end) == example.answers[0]
        owner = example.context_tokens[: example.start]
        (sentence_owner,) = [t for t in owner[-4:] if t in people][-1:]
        question = " ".join(example.question_tokens)
        if question.startswith("No pregunto") or "quieren saber" in question:
            assert asked[-1] == sentence_owner
        else:
            assert asked[0] == sentence_owner
        positions[named.index(sentence_owner)] += 1
    assert min(positions[i] for i in range(3)) > 90


def test_no_answer_is_inside_another_place_of_its_context():
    """La respuesta está una sola vez: el tramo bueno no es ambiguo."""
    repeated = sum(
        e.context.lower().count(f" {e.answers[0].lower()}.") > 1
        for e in lesson.make_stories(2000, seed=4)
    )
    assert repeated == 0


def test_names_and_stories_do_not_depend_on_the_process():
    """Un conjunto de textos se recorre en otro orden en cada proceso."""
    code = (
        "from autograder.notebooks import load; lesson = load('09_bidaf');"
        "print(lesson.make_names(50, 3)); print([e.context for e in lesson.make_stories(20, 1)])"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]


def test_rare_names_are_unknown_and_strangers_are_new():
    data, vocabulary = lesson.make_datasets()
    assert all(name.lower() in vocabulary for name in lesson.PEOPLE)
    share = {
        name: (tensors["query"] == lesson.UNKNOWN).any(1).float().mean().item()
        for name, tensors in data.items()
    }
    assert share["known"] == 0
    assert share["unknown"] == 1
    assert 0.4 < share["train"] < 0.6
    generator = random.Random(0)
    rows = [generator.randrange(len(data["train"]["start"])) for _ in range(5)]
    batch = lesson.trimmed({name: tensor[rows] for name, tensor in data["train"].items()})
    assert (batch["context"] != 0).any(0).all()
    assert batch["context_char"].shape[:2] == batch["context"].shape
    assert batch["query_char"].shape[:2] == batch["query"].shape


# --- Los experimentos, con tres semillas ----------------------------------------------------------


@pytest.fixture(scope="module")
def datasets():
    return lesson.make_datasets()


def trained(datasets, seed, **changes):
    data, vocabulary = datasets
    lesson.set_seed(seed)
    model = lesson.build_model(vocab_size=len(vocabulary) + 2, **changes)
    batches = lesson.random_batches(data["train"])
    lesson.fit(model, batches, lesson.span_loss, steps=80, lr=1e-2, label="")
    return [lesson.exact_spans(model, data[name]) for name in ("known", "unknown")]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_model_answers_known_and_unknown_names(datasets, seed):
    known, unknown = trained(datasets, seed)
    assert known >= 0.95
    assert unknown >= 0.9


@pytest.mark.parametrize(
    "changes",
    [{"model_class": lesson.WithoutQuestion}, {"flow_class": lesson.UniformFlow}],
    ids=["sin pregunta", "atención uniforme"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_controls_stay_at_chance(datasets, seed, changes):
    assert max(trained(datasets, seed, **changes)) <= 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_exercise_models_learn(datasets, seed):
    known, unknown = trained(datasets, seed, model_class=lesson.CharacterBiDAF)
    assert known >= 0.95
    assert unknown >= 0.85


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_own_corpus_reaches_high_em(seed):
    train, test = (
        lesson.examples_from_words(lesson.simulate_qa(n, s)) for n, s in ((1200, 1), (300, 2))
    )
    vocabulary = lesson.build_vocabulary(train)
    lesson.set_seed(seed)
    model = lesson.build_reader(len(vocabulary) + 2)
    lesson.train_reader(model, lesson.to_tensors(train, vocabulary), epochs=2, lr=1e-2)
    measured = lesson.evaluate_reader(model, test, vocabulary)
    assert measured["f1"] >= measured["em"] >= 0.95
    assert 0 <= measured["em"] <= 1
