"""What an audit of a fine-tuned model found, and the files that its owner takes away: functions of one record."""
