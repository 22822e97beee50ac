// What the theme leaves to be said for a reader with a keyboard or a screen reader.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

// Parts of one navigation, and the button of a block of code, are no landmarks of their own.
const plain = () => {
  for (const part of document.querySelectorAll('nav.md-nav[data-md-level="1"], nav.md-code__nav')) {
    part.setAttribute("role", "none");
    for (const name of ["aria-labelledby", "aria-expanded"]) part.removeAttribute(name);
  }
};

// A part that scrolls sideways can be reached by the keyboard; what scrolls changes with the width.
const reachable = () => {
  for (const part of document.querySelectorAll(".md-typeset pre > code, .md-typeset__scrollwrap, .md-typeset__table")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
};

const mend = () => {
  plain();
  reachable();
};
mend();
addEventListener("load", mend);
addEventListener("resize", () => requestAnimationFrame(mend));
// The theme wraps tables and adds buttons when they come into view.
new MutationObserver(mend).observe(document.querySelector(".md-content") ?? document.body, { childList: true, subtree: true });
