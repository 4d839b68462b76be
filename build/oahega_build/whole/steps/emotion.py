"""From pictures to the bundle's emotion model: search, teacher, student, what is measured about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.errors import RecipeError
from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.experiments.tune import TuneRecipe, best_recipe
from oahega_build.runs.freshness import folder_digest
from oahega_build.runs.plan import Plan, Step
from oahega_build.runs.recipes import load_recipe
from oahega_build.whole.options import Options
from oahega_build.whole.recipe import EverythingRecipe
from oahega_build.whole.steps.pictures import Pictures
from oahega_edge.bundles.load import load_bundle

VALID_LOG = "valid-log.jsonl"
EXPORT_SECONDS = 20
"""Quantizing and calibrating a model, as a guess."""
FINE_TUNING_SECONDS = 120
"""Cross-validating three ways to teach, as a guess."""


@dataclass(frozen=True, slots=True)
class EmotionSteps:
    """Adds the steps of one plan."""

    plan: Plan
    recipe: EverythingRecipe
    options: Options
    pictures: Pictures

    def add(self) -> Step:
        """Add all steps; returns the one that makes the bundle's model."""
        beside: Mapping[str, Step] = {}
        if self.recipe.student is None:
            student = self._on_a_finished_trunk()
        elif self.options.start is not None:
            student = self._fine_tuned(self.options.start)
        else:
            student, beside = self._from_nothing()
        if self.recipe.prune is not None:
            self._prune(self.recipe.prune, student, beside)
        self._evaluate("the bundle's model", student)
        return student

    def _on_a_finished_trunk(self) -> Step:
        """A new last layer for a bundle's emotion model, and more of it trained where that proves better."""
        base = self.options.start or self.options.bundle
        pattern, head_only = self.pictures.group_pattern, self.recipe.head_only
        return self.plan.add(
            "teach",
            f"the emotion model of the bundle {base.name}, taught these classes",
            recipe={"group_pattern": pattern, "head_only": head_only},
            after=[self.pictures.made_by, load_bundle(base).sha256],
            module="oahega_build.teach.taught",
            make=lambda stage, own: stage.teach_run(
                base, self.pictures.folder, pattern, head_only, self.plan.artifacts, own
            ),
            work=self.pictures.training,
            guess=FINE_TUNING_SECONDS * (not head_only) + self.pictures.training / 50,
        )

    def _fine_tuned(self, bundle: Path) -> Step:
        """Fine-tune a bundle's emotion model, at a fifth of its learning rate."""
        loaded = load_bundle(bundle)
        entry = loaded.manifest.emotion
        try:
            made_by = load_recipe(entry.card.recipe, EmotionRecipe)
        except RecipeError:
            made_by = self._student
        chosen = replace(
            made_by,
            init=loaded.file(entry.cpu),
            start=None,
            distil_share=0.0,
            epochs=self.recipe.start_epochs,
            early_epochs=0,
            learning_rate=made_by.learning_rate / 5,
        )
        name = entry.card.recipe
        return self._train("the bundle's model fine-tuned", chosen, name, [entry.cpu.sha256])

    def _from_nothing(self) -> tuple[Step, dict[str, Step]]:
        """(the student, its untaught twin and its teacher, by name)."""
        recipe = self.recipe
        teacher = self._teacher()
        if teacher is None:
            return self._alone("the student", recipe.student_recipe), {}
        beside = {"teacher": teacher}
        if self._student.distil_share == 0:
            student = self._alone("the student", recipe.student_recipe)
        elif recipe.twin:
            twin = self._alone(
                "the student without a teacher, for comparison", f"{recipe.student_recipe} alone"
            )
            student = self._distil(teacher)
            self._compare(student, twin)
            beside = {"without a teacher": twin, **beside}
        else:
            student = self._distil(teacher)
        if recipe.project:
            self._project(teacher)
        self._evaluate("the teacher", teacher)
        return student, beside

    def _teacher(self) -> Step | None:
        if self.recipe.tune is not None:
            return self._best_of_search(self.recipe.tune)
        if self.recipe.teacher is None:
            return None
        return self._train("the teacher", self._started(self.recipe.teacher), "teacher", self._init())

    def _best_of_search(self, tune: TuneRecipe) -> Step:
        search = replace(tune, base=self._grouped(self._started(tune.base)))
        if search.fine_tuned and search.base.init is None:
            raise RecipeError(
                "the search chooses layers to fine-tune and has no weights to start from; "
                "give them with --set init=MOBILENET.tflite"
            )
        fewest, most = search.epochs
        work = self.pictures.training * (fewest + most) / 2
        found = self.plan.add(
            "tune",
            f"{search.trials} trials of {fewest} to {most} epochs by {search.objective}",
            recipe=search,
            after=[self.pictures.made_by, *self._init()],
            module="oahega_build.experiments.tune",
            make=lambda stage, own: stage.tune(
                search, self.pictures.folder, self.plan.artifacts, own, self.options.workers
            ),
            work=work * search.trials,
            guess=self._guess(work) * search.trials,
        )
        return self.plan.add(
            "train-emotion",
            "the teacher, with the best values of the search",
            after=[self.pictures.made_by, found],
            module="oahega_build.emotion.train",
            make=lambda stage, own: stage.train(
                best_recipe(found.result), "tuned", self.pictures.folder, self.plan.artifacts, own
            ),
            work=work,
            guess=self._guess(work),
        )

    def _alone(self, what: str, name: str) -> Step:
        """The student without a teacher."""
        return self._train(what, replace(self._student, distil_share=0.0), name)

    def _train(self, what: str, chosen: EmotionRecipe, name: str, after: Sequence[str] = ()) -> Step:
        grouped = self._grouped(chosen)
        work = self.pictures.training * grouped.epochs
        return self.plan.add(
            "train-emotion",
            f"{what}, {grouped.epochs} epochs, int8, calibrated",
            recipe=grouped,
            after=[self.pictures.made_by, *after],
            module="oahega_build.emotion.train",
            make=lambda stage, own: stage.train(
                grouped, name, self.pictures.folder, self.plan.artifacts, own
            ),
            work=work,
            guess=self._guess(work),
        )

    def _distil(self, teacher: Step) -> Step:
        student, name = self._grouped(self._student), self.recipe.student_recipe
        work = self.pictures.training * student.epochs
        return self.plan.add(
            "distill",
            f"the student taught by the teacher, {student.epochs} epochs, int8, calibrated",
            recipe=student,
            after=[self.pictures.made_by, teacher],
            module="oahega_build.emotion.distill",
            make=lambda stage, own: stage.distill(
                student, name, [teacher.result], self.pictures.folder, self.plan.artifacts, own
            ),
            work=work,
            guess=self._guess(1.5 * work),
        )

    def _compare(self, student: Step, twin: Step) -> None:
        self.plan.add(
            "compare-distillation",
            "the student beside its untaught twin, figures 7 and 8",
            after=[self.pictures.made_by, student, twin],
            module="oahega_build.experiments.compare_distillation",
            make=lambda stage, own: stage.compare_distillation(
                [twin.result, student.result],
                self.pictures.folder,
                ["held-out", "valid"],
                self.plan.artifacts,
                own,
                self.plan.out / VALID_LOG,
            ),
            work=self.pictures.training,
            guess=self.pictures.training / 500 + 5,
        )

    def _project(self, model: Step) -> None:
        self.plan.add(
            "project",
            "embeddings, suspicious labels first",
            after=[self.pictures.made_by, model],
            module="oahega_build.experiments.project",
            make=lambda stage, own: stage.project(
                self.pictures.folder, model.result, self.plan.artifacts, own
            ),
            work=self.pictures.training,
            guess=self.pictures.training / 200 + 10,
        )

    def _evaluate(self, what: str, model: Step) -> None:
        self.plan.add(
            "evaluate-emotion",
            f"{what}: Table 1, calibration, sizes, corruptions",
            after=[self.pictures.made_by, model],
            module="oahega_build.emotion.evaluate",
            make=lambda stage, own: stage.evaluate_run(
                model.result,
                self.pictures.folder,
                "valid",
                self.plan.artifacts,
                own,
                self.plan.out / VALID_LOG,
            ),
            work=self.pictures.training,
            guess=self.pictures.training / 100 + 5,
        )

    def _prune(self, chosen: PruneRecipe, student: Step, beside: Mapping[str, Step]) -> None:
        variants = len(chosen.channels) + len(chosen.magnitudes)
        work = self.pictures.training * chosen.epochs * variants
        self.plan.add(
            "prune",
            "weights and channels removed, fine-tuned, compared",
            recipe=chosen,
            after=[self.pictures.made_by, student, *beside.values()],
            module="oahega_build.experiments.prune",
            make=lambda stage, own: stage.prune(
                chosen,
                student.result,
                self.pictures.folder,
                self.plan.artifacts,
                own,
                {name: step.result for name, step in beside.items()},
            ),
            work=work,
            guess=work / self.recipe.pictures_per_second + 60,
        )

    def _grouped(self, chosen: EmotionRecipe) -> EmotionRecipe:
        """With the groups that a split must not cut, where the pictures have some."""
        pattern = self.pictures.group_pattern
        return replace(chosen, group_pattern=pattern) if pattern else chosen

    def _started(self, chosen: EmotionRecipe) -> EmotionRecipe:
        return replace(chosen, init=self.recipe.init) if self.recipe.init else chosen

    @property
    def _student(self) -> EmotionRecipe:
        """Of a recipe that trains from nothing."""
        if self.recipe.student is None:
            raise RecipeError("the recipe has no student to train; take another one")
        return self.recipe.student

    def _init(self) -> list[str]:
        return [folder_digest(self.recipe.init)] if self.recipe.init else []

    def _guess(self, work: float) -> float:
        return work / self.recipe.pictures_per_second + EXPORT_SECONDS
