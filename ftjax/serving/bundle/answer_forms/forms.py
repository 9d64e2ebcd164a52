"""All forms of answers, by the names that tasks and signatures use."""

from __future__ import annotations

from ftjax.errors import check_name
from ftjax.serving.bundle.answer_forms.answer_form import AnswerForm
from ftjax.serving.bundle.answer_forms.choice_answers import ChoiceAnswers, OrderAnswers
from ftjax.serving.bundle.answer_forms.class_answers import ClassAnswers
from ftjax.serving.bundle.answer_forms.mask_answers import MaskAnswers
from ftjax.serving.bundle.answer_forms.tag_answers import TagAnswers
from ftjax.serving.bundle.answer_forms.vector_answers import CosineAnswers, VectorAnswers
from ftjax.serving.bundle.answer_forms.written_answers import WrittenAnswers
from ftjax.serving.bundle.signature import FILE, Signature

FORMS: dict[str, AnswerForm] = {
    'outputs': ClassAnswers(),
    'tags': TagAnswers(),
    'masks': MaskAnswers(),
    'vectors': VectorAnswers(),
    'cosine': CosineAnswers(),
    'choice': ChoiceAnswers(),
    'order': OrderAnswers(),
    'texts': WrittenAnswers(),
}


def form_of(signature: Signature) -> AnswerForm:
    """The form of a bundle's answers; UserError for one that this ftjax does not know."""
    check_name(signature.answer, FORMS, f'{FILE}: answer')
    form = FORMS[signature.answer]
    form.check(signature)
    return form
