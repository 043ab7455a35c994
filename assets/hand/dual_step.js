// One attention output, and the same numbers from one gradient step on the dual model, line by line.
hand.figures.dual_step = (data) => hand.walk(data, "One gradient step on the dual model, line by line, with the values of each line");
