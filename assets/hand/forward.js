// One forward pass of the one-layer model, line by line.
hand.figures.forward = (data) => hand.walk(data, "One forward pass of the model, line by line, with the values of each line");
