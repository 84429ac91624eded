"""The pipeline: whole capabilities made of stages: building a zoo, fitting a space, fine-tuning, checking."""
