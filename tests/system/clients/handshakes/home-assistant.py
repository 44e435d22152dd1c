"""python home-assistant.py URL      adds the integration to a whole Home Assistant, and asks"""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from homeassistant import bootstrap, runner
from homeassistant.components import conversation
from homeassistant.core import Context

URL = sys.argv[1]


async def main() -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "configuration.yaml").write_text("conversation:\nai_task:\n")
    config = runner.RuntimeConfig(config_dir=str(folder), skip_pip=True, safe_mode=False)
    hass = await bootstrap.async_setup_hass(config)
    assert hass
    await hass.async_start()

    flow = await hass.config_entries.flow.async_init("ollama", context={"source": "user"})
    made = await hass.config_entries.flow.async_configure(flow["flow_id"], {"url": URL})
    assert made["type"] == "create_entry", made
    await hass.async_block_till_done()
    entry = made["result"]

    for kind in ("conversation", "ai_task_data"):
        add = hass.config_entries.subentries
        form = await add.async_init((entry.entry_id, kind), context={"source": "user"})
        offered = form["data_schema"].schema["model"].config["options"][0]
        assert offered["value"] == "mock:latest", offered
        chosen = {"model": "mock:latest", "name": "The card", "think": False}
        if kind == "conversation":
            chosen["llm_hass_api"] = ["assist"]  # hands its tools to the model
        added = await add.async_configure(form["flow_id"], chosen)
        assert added["type"] == "create_entry", added
        await hass.async_block_till_done()

    (agent,) = hass.states.async_entity_ids("conversation")[-1:]
    asked = "Why is the sky blue?"
    answer = await conversation.async_converse(hass, asked, None, Context(), "en", agent)
    said = answer.as_dict()["response"]["speech"]["plain"]["speech"]
    print(said)
    assert asked in said

    task = {"task_name": "greet", "instructions": "Hello", "entity_id": "ai_task.the_card"}
    done = await hass.services.async_call(
        "ai_task", "generate_data", task, blocking=True, return_response=True
    )
    print(done)
    assert "Hello" in done["data"]
    await hass.async_stop(force=True)


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
