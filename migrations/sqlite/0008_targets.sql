-- An alert knows the values under which it is a target, so its rows are found by their key.
DROP INDEX inhibition_targets_alert;
