"""What a run tells: log.jsonl as the record, TensorBoard for curves, the console for the moment.

An event is a flat dict and goes to every sink; sinks exist on the main process only. Events:

    start       what runs where: versions, device, processes, optimizer backend, precision
    train       means since the last train line: loss, top1, clips_per_second, data_wait; and lr,
                gradient_norm, eta (seconds) at that step
    validation  loss, top1, top5, best_top1
    end         the same metrics, and seconds in all

``step`` counts finished steps over the whole run, ``epoch`` counts from 1. top1, top5 and data_wait
(the part of the time in which the network waited for clips) are in percent. The loss and norm of a
line are null where they are not finite.
"""
