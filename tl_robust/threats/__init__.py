"""What an attacker wants of models made by transfer learning: one file a threat."""
