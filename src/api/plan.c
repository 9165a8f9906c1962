// The plan of a session's call as text.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/recover.h"

static Status print_plan(ingot_session *session, const ingot_tensor *inputs, int input_count, char **out) {
  Executable *executable;
  Stage *stage;
  TRY(api_take_inputs(session, inputs, input_count));
  TRY(runner_prepare(session->runner, session->inputs, &executable, &stage));
  session->stats = runner_stats(session->runner);
  Arena *scratch = arena_scratch();
  Text text = text_new(scratch);
  plan_print(&text, session->device->plan(executable), session->device->compiler, NULL);
  *out = strdup(text_get(&text));
  arena_free(scratch);
  return *out ? OK : status_out_of_memory();
}

ingot_error *ingot_session_plan_text(ingot_session *session, const ingot_tensor *inputs, int input_count, char **out) {
  Status status = api_require("ingot_session_plan_text", "session", session, "inputs", input_count ? inputs : (void *)&status,
                              "out", out, NULL);
  return api_error(status ? status : SESSION_CALL(session, print_plan(session, inputs, input_count, out)));
}
