"""Transcripts: prompts and answers, where a project keeps them, for as long as it says."""
