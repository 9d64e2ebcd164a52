"""What a bundle answers with: one file a form, named by `Answering.served` of a task."""
