"""Los datos reales: de dónde vienen, qué pasa si no se consiguen, y cómo los leen los programas."""

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.conventions import ROOT
from autograder.notebooks import load

FOLDER = ROOT / "real_data"
needs_data = pytest.mark.skipif("ATENCION_DATOS" not in os.environ, reason="sin ATENCION_DATOS")


@pytest.fixture
def script(monkeypatch):
    """`script(nombre)`: un módulo de real_data/, importado como al ejecutarlo."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module


@pytest.fixture(scope="module")
def language_models():
    return load("07_clave_valor_prediccion")


def test_every_source_is_a_pinned_commit_with_its_digest(script):
    data = script("data")
    single = [data.XQUAD_ES, data.SQUAD_ES, data.SPA_ENG, data.QUIJOTE]
    sources = [*single, *data.BABI.values(), *data.SQUAD_ES_DIST.values()]
    assert set(data.BABI) == {(task, split) for task in (1, 2, 3) for split in ("train", "test")}
    for name, url, digest in sources:
        assert re.fullmatch(r"https://[\w.]+/[\w.-]+/[\w.-]+/[0-9a-f]{40}/\S+", url)
        assert url.endswith(name.split("/")[-1])
        assert re.fullmatch(r"[0-9a-f]{64}", digest)


@pytest.mark.parametrize("content", [None, "roto"])
def test_missing_or_wrong_data_is_one_line(tmp_path, content):
    """Sin red y sin el archivo, o con otro en su lugar: una línea, y lo que había sigue ahí."""
    file = tmp_path / "xquad.es.json"
    if content:
        file.write_text(content)
    nowhere = {"https_proxy": "http://127.0.0.1:9", "ATENCION_DATOS": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", "from data import XQUAD_ES, fetch; fetch(XQUAD_ES)"],
        cwd=FOLDER,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("No está xquad.es.json")
    assert not content or file.read_text() == content


@needs_data
def test_squad_es_without_the_paragraphs_of_xquad(script):
    training, test = script("bidaf_xquad").read_data(load("09_bidaf"))
    assert (len(training), len(test)) == (5851, 1190)


def test_read_task(tmp_path):
    """Cada pregunta lleva lo contado hasta ella en su historia, sin las preguntas de antes."""
    nb = load("02_redes_de_memoria")
    file = tmp_path / "tarea.txt"
    file.write_text(
        "1 A went.\n2 Where is A?\tHall\t1\n3 B sat.\n4 Who?\tB\t3\n1 C ran.\n2 Who?\tC\t1\n"
    )
    examples = nb.read_task(file)
    assert [len(story) for story, *_ in examples] == [1, 2, 1]
    assert examples[1] == ([["a", "went"], ["b", "sat"]], ["who"], "B")
    vocabulary = nb.number_words(examples)
    assert sorted(vocabulary.values()) == list(range(1, len(vocabulary) + 1))
    sentences, questions, answers = nb.task_tensors(examples, vocabulary, memories=3)
    assert (sentences != nb.PAD).any(-1).sum(1).tolist() == [1, 2, 1]
    assert sentences[1, -1, :2].tolist() == [vocabulary["b"], vocabulary["sat"]]
    assert nb.task_tensors(examples, vocabulary, memories=1)[0].shape[1] == 1
    assert (questions != nb.PAD).sum(1).tolist() == [3, 1, 1]
    assert answers.tolist() == [vocabulary[answer] for *_, answer in examples]


@needs_data
def test_babi_tasks(script):
    train, validation, test, _ = script("memn2n_babi").read_data(load("02_redes_de_memoria"), "cpu")
    for task in (1, 2, 3):
        assert [len(part[task][2]) for part in (train, validation, test)] == [900, 100, 1000]
        sentences, questions, _ = test[task]
        assert (sentences[:, -1] > 0).any(1).all()  # la última frase está al final
        assert (questions > 0).any(1).all()


def test_read_translations(tmp_path):
    """Las traducciones de una misma frase van juntas, y las frases largas no entran."""
    nb = load("01_atencion_global")
    lines = ["Go.\tVe.\tde quien sea", "I don't!\t¡Yo no!", "GO.\tVete.", "One two three.\tLargo."]
    with zipfile.ZipFile(tmp_path / "pares.zip", "w") as archive:
        archive.writestr("spa-eng/spa.txt", "\n".join(lines))
    train, test = nb.read_translations(tmp_path / "pares.zip", longest=3, tested=1)
    assert len(train) == len(test) == 1
    assert sorted(train + test) == [
        (["go", "."], [["ve", "."], ["vete", "."]]),
        (["i", "don't", "!"], [["¡", "yo", "no", "!"]]),
    ]


def test_sentences_to_numbers_and_back():
    nb = load("01_atencion_global")
    known = nb.number_words([["a", "b"], ["b", "a", "c"]], least=2)
    assert sorted(known.values()) == [nb.UNKNOWN + 1, nb.UNKNOWN + 2]
    (row,) = nb.to_rows([["b", "c"]], known, (nb.START, nb.END))
    assert row.tolist() == [nb.START, known["b"], nb.UNKNOWN, nb.END]
    tokens, lengths = nb.pad_rows([row, row[:2]])
    assert lengths.tolist() == [4, 2]
    assert nb.to_words(tokens, known) == [["b", "…"], ["b"]]
    src, _, trg = next(nb.similar_batches([row] * 3, [row] * 3, size=2, seed=0))
    assert src.shape == trg.shape == (4, 2)


@needs_data
def test_translation_pairs_share_no_english_sentence(script):
    path = script("data").fetch(script("data").SPA_ENG)
    train, test = load("01_atencion_global").read_translations(path, longest=8, tested=1000)
    assert len(test) == 1000
    known = {" ".join(source) for source, _ in train}
    assert not known & {" ".join(source) for source, _ in test}


def test_book_is_split_in_order_and_only_the_first_part_gives_words(language_models, tmp_path):
    nb = language_models
    book = tmp_path / "libro.txt"
    book.write_text("uno dos, " * 60 + "tres " * 10 + "cuatro " * 10)
    train, validation, test, vocabulary = nb.read_book(book, least=60)
    assert [len(part) for part in (train, validation, test)] == [180, 10, 10]
    assert set(vocabulary) == {"uno", "dos", ","}
    assert nb.UNKNOWN not in train
    assert set(validation.tolist()) == set(test.tolist()) == {nb.UNKNOWN}


@settings(max_examples=30, deadline=None)
@given(
    ids=st.lists(st.integers(1, 6), min_size=3, max_size=60),
    before=st.lists(st.integers(1, 6), max_size=4).map(tuple),
    order=st.integers(1, 3),
)
def test_kneser_ney_is_a_distribution(language_models, ids, before, order):
    counted = language_models.KneserNey(ids, order, vocab_size=6)
    chances = [counted.probability(word, before) for word in range(1, 7)]
    assert sum(chances) == pytest.approx(1)
    assert min(chances) > 0


def test_kneser_ney_by_hand(language_models):
    """«a b a b a»: dos veces «a b» y dos «b a»; detrás de cada palabra, siempre la otra."""
    counted = language_models.KneserNey([1, 2, 1, 2, 1], 2, vocab_size=3)
    # descuentos: parejas, (0 + 1) / (0 + 2·2 + 2) = 1/6; sueltas, (2 + 1) / (2 + 0 + 2) = 3/4
    alone = {1: (1 - 3 / 4) / 2 + 3 / 4 / 3, 3: 3 / 4 / 3}
    assert counted.probability(1, (2,)) == pytest.approx((2 - 1 / 6) / 2 + 1 / 6 / 2 * alone[1])
    assert counted.probability(3, (2,)) == pytest.approx(1 / 6 / 2 * alone[3])
    assert counted.probability(3, (3,)) == pytest.approx(alone[3])  # nunca visto: palabras sueltas


def test_kneser_ney_counts_what_precedes(language_models):
    """«y» sale más que «z», pero siempre tras «x»: en un sitio nuevo gana «z»."""
    x, y, z = 1, 2, 3
    ids = [x, y] * 9 + [4, z, 5, z, 6, z]
    counted = language_models.KneserNey(ids, 2, vocab_size=7)
    assert counted.probability(z, (7,)) > counted.probability(y, (7,))
    assert counted.perplexity([x, y, x, y]) < counted.perplexity([y, y, x, x])


def test_text_perplexity_of_knowing_nothing(language_models):
    """Con los parámetros de la salida a cero, duda entre todas; con las frecuencias, ya no."""
    nb = language_models
    model = nb.KeyValuePredictLM(10, hidden_dim=24)
    torch.nn.init.zeros_(model.out.weight)
    torch.nn.init.zeros_(model.out.bias)
    ids = torch.arange(1, 10).repeat(20)
    assert nb.text_perplexity(model, ids, length=8) == pytest.approx(10)
    nb.start_at_frequencies(model, torch.ones(1000, dtype=torch.long))
    assert nb.text_perplexity(model, torch.ones(50, dtype=torch.long), 8) == pytest.approx(
        1, abs=0.1
    )


@needs_data
def test_quijote(script, language_models):
    nb = language_models
    (train, validation, test), size = script("lm_quijote").read_data(nb, torch.device("cpu"))
    assert [len(part) for part in (train, validation, test)] == [394490, 21916, 21916]
    assert train.unique().tolist() == list(range(nb.UNKNOWN, size))  # ninguna es solo de la prueba
    assert 0.05 < (test == nb.UNKNOWN).float().mean() < 0.1


def test_choices_are_found_in_the_text_or_at_their_place():
    lesson = load("08_atencion_sobre_atencion")
    text = "Los filipinos llegaron. Otros filipinos, indogriegos, no."
    words, spans = lesson.words_of(text)
    assert [text[start:end].lower() for start, end in spans] == words

    def places(written, at=None):
        start = text.index(at or written)
        choice = {"text": written, "start": start, "end": start + len(at or written)}
        return lesson.places_of(choice, words, spans)

    assert places("Filipinos", "llegaron") == [(1, 2), (4, 5)]  # aunque la dirección sea otra
    assert places("LOS FILIPINOS", "Los") == [(0, 2)]
    assert places("el filipino", "filipinos,") == [(1, 2), (4, 5)]  # retocada: lo que hay allí
    assert places("griego") == [(5, 6)]  # dentro de una palabra


def test_a_choice_receives_the_mean_of_its_words_in_each_place():
    lesson = load("08_atencion_sobre_atencion")
    document = ["a", "b", "c", "b", "d"]
    examples = [
        (document, ["a"], [[(0, 1)], [(1, 2), (3, 4)], [(1, 3)]], 1),
        (document[:2], ["b"], [[(0, 1)], [(0, 2)]], 0),
    ]
    *_, choices, rights = lesson.choice_tensors(examples, lesson.word_numbers(examples))
    weights = torch.tensor([[0.1, 0.2, 0.4, 0.3, 0.0], [0.6, 0.4, 0.0, 0.0, 0.0]])
    received = lesson.choice_scores(weights, choices).exp()
    expected = torch.tensor([[0.1, 0.5, 0.3], [0.6, 0.5, 0.0]])
    assert torch.allclose(received, expected)
    assert rights.tolist() == [1, 0]


def test_rules_that_do_not_learn(script):
    lesson = load("08_atencion_sobre_atencion")
    far = ["otra"] * 20
    document = ["uno", *far, "cervantes", "nació", "en", "alcalá", *far, "dos", "tres"]
    choices = [[(0, 1)], [(24, 25)], [(45, 47)]]
    example = (document, ["dónde", "nació", "cervantes"], choices, 1)
    assert lesson.near_question(example) == 1
    assert lesson.near_question((document, ["en"], choices, 1)) == 0  # no cuenta lo corto
    found = script("cloze_squad_es").rules(lesson, [example, (document, ["uno"], choices, 0)])
    assert found["al azar"] == pytest.approx(100 / 3)
    assert found["la opción más larga"] == 0
    assert found["la primera en el texto"] == 50
    assert found["08 sin aprender"] == found["08 sin aprender, votos iguales"] == 100


@needs_data
def test_squad_es_dist(script):
    lesson = load("08_atencion_sobre_atencion")
    parts, before = script("cloze_squad_es").read_data(lesson)
    sizes = {split: len(examples) for split, examples in parts.items()}
    assert sizes == {"training": 835, "dev": 95, "test": 50}
    for document, question, choices, right in [e for part in parts.values() for e in part]:
        assert question
        assert 3 <= len(choices) <= 5
        assert right in range(len(choices))
        for places in choices:  # todas se encuentran, y todas sus apariciones dicen lo mismo
            assert len({tuple(document[start:end]) for start, end in places}) == 1
    texts = {tuple(document) for part in parts.values() for document, *_ in part}
    assert not texts & {tuple(document) for document, *_ in before}
    assert len(before) == 3984


@needs_data
def test_squad_es_dist_says_what_the_file_says(script):
    """Las opciones sin retocar dicen, palabra por palabra, lo que el archivo."""
    data, lesson = script("data"), load("08_atencion_sobre_atencion")
    exact = 0
    for source in data.SQUAD_ES_DIST.values():
        for entry in json.loads(data.fetch(source).read_text())["data"]:
            words, spans = lesson.words_of(entry["context"])
            for choice in entry["choices"]:
                start, end = lesson.places_of(choice, words, spans)[0]
                exact += words[start:end] == lesson.words_of(choice["text"])[0]
    assert exact == 3908  # de 4085: las demás están retocadas, y valen las de su dirección


def test_alike_texts_share_more_than_half_of_their_words(script):
    alike = script("cloze_squad_es").alike
    assert alike(set("abcd"), set("abce"))  # 3 de 5
    assert not alike(set("abc"), set("abd"))  # 2 de 4
    assert not alike(set("ab"), set("abcd"))  # 2 de 4


def test_word_vectors_are_zero_only_for_padding(script):
    """Las palabras que no salen en los textos de los que se aprende también tienen vector."""
    program = script("cloze_squad_es")
    text = [f"palabra{number % 60}" for number in range(400)]
    parts = {"training": [(text, ["nueva"], [[(0, 1)], [(1, 2)]], 0)]}
    lesson = load("08_atencion_sobre_atencion")
    vectors = program.word_vectors(parts, [], lesson.word_numbers(parts["training"]))
    assert vectors.isfinite().all()
    assert (vectors.norm(dim=1) > 0).tolist() == [False] + [True] * 61
