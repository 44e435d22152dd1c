"""What the service itself reads in a folder for `axllm`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from axproxy.models.axllm_folder import AxllmFolder
from axproxy.prompts.chat_formats import ChatFormat, chat_format
from axproxy.prompts.renderer import TemplateRenderer
from axproxy.runtimes.axllm.count_check import CountCheck
from axproxy.tokenizer.in_process import InProcessTokenizer


class ModelReader:
    """Reads each thing when it is first needed, and once.  Any thread.

    Its properties raise `OSError` and what damaged files raise.
    """

    def __init__(self, read: Callable[[], AxllmFolder]) -> None:
        self._read = read

    @cached_property
    def folder(self) -> AxllmFolder:
        return self._read()

    @cached_property
    def form(self) -> ChatFormat:
        return chat_format(self.folder.family, self.folder.model_name)

    @cached_property
    def tokenizer(self) -> InProcessTokenizer:
        return InProcessTokenizer(self.folder, self.form)

    @cached_property
    def renderer(self) -> TemplateRenderer:
        return TemplateRenderer(self.tokenizer, self.tokenizer.info())

    @cached_property
    def check(self) -> CountCheck:
        exact = self.tokenizer.exact and self.form.known
        return CountCheck(self.folder.model_name, exact=exact)
