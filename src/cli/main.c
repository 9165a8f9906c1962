// The command `ingot`.
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"

static const Command *const commands[] = {&command_build,   &command_run,    &command_bench,
                                          &command_inspect, &command_passes, &command_report,
                                          &command_tune,    &command_verify, NULL};

static void help(FILE *out) {
  fprintf(out,
          "ingot %s: casts an ONNX model into an engine and runs it on a GPU or a CPU.\n\n"
          "usage: ingot COMMAND MODEL [options]     (ingot COMMAND --help explains one)\n\n",
          ingot_version());
  for (int i = 0; commands[i]; i++) fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
  fprintf(out,
          "\nMODEL is an .onnx file, or an engine that `ingot build` wrote; - reads it from the standard input.\n\n"
          "  ingot run model.onnx --input photo.jpg           one run, results summarised\n"
          "  ingot bench model.onnx --fp16                    how fast it is here\n"
          "  ingot build model.onnx --fp16 --tune 30 -o model.ingot\n"
          "  ingot tune model.onnx --fp16 --database m.tuning  measures on, for builds with --tuning m.tuning\n"
          "  ingot inspect model.ingot                        what it is made of, and what each part costs\n"
          "  ingot passes model.onnx --explain /conv1/Conv    what became of one node, and why not more\n"
          "  ingot report model.onnx -o report.html           the graph, fusions, times and memory, as one page to look at\n"
          "  ingot verify model.onnx --data test_data_set_0   compare with expected outputs, or with the unoptimised model\n");
}

int main(int count, char **arguments) {
  if (count > 2 && (!strcmp(arguments[1], "help") || !strcmp(arguments[1], "--help") || !strcmp(arguments[1], "-h"))) {
    // of a command: as the command tells it
    arguments[1] = arguments[2];
    arguments[2] = "--help";
    count = 3;
  }
  if (count < 2 || !strcmp(arguments[1], "--help") || !strcmp(arguments[1], "-h") || !strcmp(arguments[1], "help")) {
    help(count < 2 ? stderr : stdout);
    return count < 2 ? 2 : 0;
  }
  if (!strcmp(arguments[1], "--version") || !strcmp(arguments[1], "version")) {
    printf("ingot %s\n", ingot_version());
    return 0;
  }
  for (int i = 0; commands[i]; i++)
    if (!strcmp(commands[i]->name, arguments[1])) return commands[i]->run(count - 2, arguments + 2);
  if (file_exists(arguments[1])) {
    fprintf(stderr, "ingot: say what to do with '%s', like: ingot run %s\n", arguments[1], arguments[1]);
    return 2;
  }
  fprintf(stderr, "ingot: there is no command '%s'\n\n", arguments[1]);
  help(stderr);
  return 2;
}
