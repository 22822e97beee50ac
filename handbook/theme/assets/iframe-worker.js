// Search runs in a worker, and a browser starts none on a page that was opened from a disk.
// There a hidden frame of the same page runs the worker's script, and messages go to and fro as events.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "Search";
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      const answer = (name, data) => {
        const event = new MessageEvent(name, { data });
        this.dispatchEvent(event);
        const handler = this["on" + name];
        if (handler) handler.call(this, event);
      };
      inside.postMessage = (data) => setTimeout(() => answer("message", data));
      inside.importScripts = (...addresses) => addresses.reduce((before, one) => before.then(() => load(one)), Promise.resolve());
      const load = (one) => new Promise((done, failed) => {
        const script = inside.document.createElement("script");
        script.src = new URL(one, location.href);
        script.onload = done;
        script.onerror = failed;
        inside.document.head.append(script);
      });
      this.frame = frame;
      this.ready = load(address).then(() => inside, () => answer("error", `${address} cannot be loaded`));
    }

    postMessage(data) {
      this.ready.then((inside) => inside && inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
