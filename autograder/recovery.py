"""Devolver a una entrega lo que perdió por el camino: en Colab, en un editor, al copiar, en el LMS.

Cada celda del curso se busca en la entrega por sus metadatos, su identificador, la línea que la
nombra, su texto, lo que define y, por último, el parecido. Nada se inventa: lo que falta, se dice.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise, takewhile

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.utils import is_grade, is_solution

from autograder.assignments import MARKER, Assignment
from autograder.notebooks import grade_id, is_executed
from autograder.source import defined_names, is_python

FENCE = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)
ALIKE = 0.6  # dos celdas que comparten menos líneas que estas son otras
SHORTEST = 40  # caracteres de una celda que se puede reconocer dentro de otra

SPLIT = "celdas que estaban unidas"
JOINED = "respuestas que estaban partidas"
RETYPED = "celdas que habían cambiado de tipo"
REPEATED = "celdas repetidas, de las que cuenta la última con respuesta"
UNNAMED = "celdas que habían perdido sus metadatos"
DISORDERED = "celdas fuera de su sitio"
EDITED = "pruebas cambiadas"
DELETED = "pruebas borradas"
LOST = "celdas de la lección que faltaban"
UNANSWERED = "respuestas que no están"
INVENTED = "pruebas que no son del curso"


@dataclass(frozen=True)
class Recovered:
    """Un cuaderno recuperado, y lo que hubo que hacer: una línea por cosa."""

    notebook: NotebookNode
    notes: tuple[str, ...]


@dataclass
class _Group:
    """Una celda del curso, hallada en la entrega, y las que quien estudia escribió detrás."""

    place: int  # su lugar en el curso; -1, las que van delante de la primera
    cells: list[NotebookNode] = field(default_factory=list)


def recover(submission: NotebookNode, assignment: Assignment) -> Recovered:
    """Una copia de la entrega con las celdas del curso en su sitio y con sus metadatos.

    Las pruebas son las de la versión de estudiantes: las ocultas las pone quien corrige.
    """
    notebook = copy.deepcopy(submission)
    recovery = _Recovery(assignment.given.cells)
    notebook.cells = recovery.run(notebook.cells)
    notebook.metadata["autograder"] = {"assignment": assignment.name}
    return Recovered(notebook, recovery.lines())


class _Recovery:
    def __init__(self, official: list[NotebookNode]):
        self.official = official
        self.plain = [_plain(cell.source) for cell in official]
        self.names = [defined_names(text) for text in self.plain]
        self.places = {cell.id: place for place, cell in enumerate(official)}
        self.places |= {str(grade_id(c)): i for i, c in enumerate(official) if grade_id(c)}
        self.notes: dict[str, list[str]] = defaultdict(list)

    def run(self, cells: list[NotebookNode]) -> list[NotebookNode]:
        pieces = [piece for cell in cells for piece in self._pieces(cell)]
        groups = self._groups(pieces, self._owners(pieces))
        places = [group.place for group in groups]
        self._note(DISORDERED, *(b for a, b in pairwise(places) if b < a))
        for group in groups:
            self._complete(group)
        groups += self._missing(groups)
        groups.sort(key=lambda group: group.place)
        return [cell for group in groups for cell in group.cells]

    def lines(self) -> tuple[str, ...]:
        return tuple(
            f"{what}: {', '.join(dict.fromkeys(names))}" for what, names in self.notes.items()
        )

    def _note(self, what: str, *places: int) -> None:
        self.notes[what] += [str(grade_id(self.official[p]) or f"la {p + 1}.ª") for p in places]
        if not self.notes[what]:
            del self.notes[what]

    # --- Separar lo que se unió ---

    def _pieces(self, cell: NotebookNode) -> list[NotebookNode]:
        """La celda o, si contiene varias del curso, una por cada trozo."""
        source = cell.source
        bounds = sorted({0, *self._boundaries(source), len(source)})
        texts = [source[a:b].strip("\n") for a, b in pairwise(bounds)]
        texts = [text for text in texts if text.strip()]
        if len(texts) < 2:
            return [cell]
        markers = [match[1] for text in texts if (match := MARKER.match(text))]
        self._note(SPLIT, *(self.places[name] for name in markers if name in self.places))
        new = new_code_cell if cell.cell_type == "code" else new_markdown_cell
        return [new(text) for text in texts]

    def _boundaries(self, source: str) -> set[int]:
        """Dónde empiezan y acaban las celdas del curso que hay dentro de una más larga."""
        if _plain(source) in self.plain or FENCE.match(source.strip()):
            return set()
        starts = {m.start() for m in MARKER.finditer(source) if m[1] in self.places}
        whole = {
            (start, start + len(text))
            for text, cell in zip(self.plain, self.official, strict=True)
            if cell.cell_type == "code"
            and len(text) >= SHORTEST
            and (start := source.find(text)) >= 0
        }
        if len(starts) + len(whole) < 2 and not any(source[:start].strip() for start in starts):
            return set()
        return starts | {bound for pair in whole for bound in pair}

    # --- Reconocer ---

    def _owners(self, cells: list[NotebookNode]) -> list[int | None]:
        """De cada celda de la entrega, el lugar de la del curso que es; None, si no es ninguna."""
        owners = [self._claimed(cell) for cell in cells]
        claims = [(p, c) for p, c in zip(owners, cells, strict=True) if p is not None]
        settled = {place for place, cell in claims if self._settles(place, cell)}
        free = [place for place in range(len(self.official)) if place not in settled]
        for recognised in (self._same_text, self._same_names, self._most_alike):
            for i, cell in enumerate(cells):
                if owners[i] is None and cell.source.strip():
                    owners[i] = place = recognised(cell, free)
                    if place is not None and self._settles(place, cell):
                        free.remove(place)
        return owners

    def _settles(self, place: int, cell: NotebookNode) -> bool:
        """Si ya no hay que buscar una celda del curso: está, y no es un hueco sin rellenar."""
        return not is_solution(self.official[place]) or self._answers(cell, place)

    def _claimed(self, cell: NotebookNode) -> int | None:
        """El lugar de la celda del curso que esta dice ser."""
        marker = MARKER.match(_plain(cell.source))
        said = (grade_id(cell), cell.get("id"), marker and marker[1])
        return next((self.places[str(name)] for name in said if name in self.places), None)

    def _same_text(self, cell: NotebookNode, free: list[int]) -> int | None:
        text = _plain(cell.source)
        return next((place for place in free if self.plain[place] == text), None)

    def _same_names(self, cell: NotebookNode, free: list[int]) -> int | None:
        """La celda de la lección o el ejercicio que define lo mismo, y quizá algo más."""
        names = defined_names(_plain(cell.source))
        for place in free:
            official = self.official[place]
            wanted = is_executed(official) and not _is_test(official) and self.names[place]
            if wanted and self.names[place] <= names:
                return place
        return None

    def _most_alike(self, cell: NotebookNode, free: list[int]) -> int | None:
        """La celda de código o de respuesta que comparte más líneas."""
        matcher = difflib.SequenceMatcher(None, b=_plain(cell.source).splitlines(), autojunk=False)
        best, nearest = ALIKE, None
        for place in free:
            if self.official[place].cell_type != "code" and not grade_id(self.official[place]):
                continue
            matcher.set_seq1(self.plain[place].splitlines())
            if matcher.quick_ratio() >= best and (ratio := matcher.ratio()) >= best:
                best, nearest = ratio, place
        return nearest

    # --- Poner cada una en su sitio ---

    def _groups(self, cells: list[NotebookNode], owners: list[int | None]) -> list[_Group]:
        chosen: dict[int, int] = {}
        for i, place in enumerate(owners):
            if place is None:
                continue
            self._note(REPEATED, *([place] if place in chosen else []))
            if place not in chosen or self._answers(cells[i], place) >= self._answers(
                cells[chosen[place]], place
            ):
                chosen[place] = i
        groups = [_Group(-1)]
        for i, (cell, place) in enumerate(zip(cells, owners, strict=True)):
            if place is None:
                groups[-1].cells.append(self._own(cell))
            elif chosen[place] == i:
                groups.append(_Group(place, [cell]))
        return groups

    def _answers(self, cell: NotebookNode, place: int) -> bool:
        """Si hay algo escrito y no es lo que se repartió."""
        text = MARKER.sub("", _plain(cell.source)).strip()
        return bool(text) and text != MARKER.sub("", self.plain[place]).strip()

    def _own(self, cell: NotebookNode) -> NotebookNode:
        """Una celda de quien estudia, que no puede pasar por una del curso."""
        if grade_id(cell):
            self.notes[INVENTED].append(str(grade_id(cell)))
            cell.metadata.pop("nbgrader")
        return cell

    def _complete(self, group: _Group) -> None:
        """Da a la celda del curso el tipo, los metadatos y el texto que debe tener."""
        if group.place < 0:
            return
        official, (found, *others) = self.official[group.place], group.cells
        cell = copy.deepcopy(official)
        if found.cell_type == official.cell_type:
            cell.source = found.source
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = found.outputs, found.execution_count
        else:
            self._note(RETYPED, group.place)
            cell.source = _plain(found.source)
        if grade_id(official) and grade_id(found) != grade_id(official):
            self._note(UNNAMED, group.place)
        if _is_test(official) and _plain(cell.source) != self.plain[group.place]:
            self._note(EDITED, group.place)
            cell.source = official.source
        if is_solution(official):
            pieces = _pieces_of_answer(cell, others)
            self._note(JOINED, *([group.place] if pieces else []))
            cell.source = "\n".join([cell.source, *(piece.source for piece in pieces)])
            others = others[len(pieces) :]
        group.cells = [cell, *others]

    def _missing(self, groups: list[_Group]) -> list[_Group]:
        """Las celdas del curso que no están y hacen falta, tal como se repartieron."""
        present = {group.place for group in groups}
        executed = [cell for group in groups for cell in group.cells if is_executed(cell)]
        defined = set().union(*(defined_names(cell.source) for cell in executed))
        added = []
        for place, official in enumerate(self.official):
            if place in present or not (grade_id(official) or is_executed(official)):
                continue
            if self.names[place] and self.names[place] <= defined and not _is_test(official):
                continue  # está escrito en otra celda
            kind = DELETED if _is_test(official) else UNANSWERED if grade_id(official) else LOST
            self._note(kind, place)
            added.append(_Group(place, [copy.deepcopy(official)]))
        return added


def _is_test(cell: NotebookNode) -> bool:
    return is_grade(cell) and not is_solution(cell)


def _pieces_of_answer(head: NotebookNode, others: list[NotebookNode]) -> list[NotebookNode]:
    """Las celdas que siguen a una respuesta y son parte de ella: se partió al editarla."""
    if head.cell_type != "code":
        return list(takewhile(lambda cell: cell.cell_type != "code", others))
    source, count = head.source, 0
    for i, cell in enumerate(others, start=1):
        if cell.cell_type != "code" or (is_python(source) and is_python(cell.source)):
            break
        source = f"{source}\n{cell.source}"
        if is_python(source):
            count = i
    return others[:count]


def _plain(source: str) -> str:
    """Un texto sin lo que cambia al pasar de un editor a otro."""
    text = source.strip()
    fenced = FENCE.match(text)
    return "\n".join(line.rstrip() for line in (fenced[1] if fenced else text).splitlines())
