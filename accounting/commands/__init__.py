"""The upper floor's verbs of the command line, one or a family in a file.

A verb's file declares its options with click alone, so that `--help` is quick; what it runs is imported where it runs.
What its functions raise for the operator (`exporters.errors.OperatorError`) the front door tells.
"""
